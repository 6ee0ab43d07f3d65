"""The page in a real browser: Debian's Chromium, driven by Playwright. Screenshots go to out/page/."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.serve.conftest import REPOSITORY, Server, decoded

playwright = pytest.importorskip("playwright.sync_api", reason="pip install 'cmgan[dev]'")

pytestmark = pytest.mark.check
PHOTO = REPOSITORY / "examples" / "photo.jpg"
SCREENSHOTS = REPOSITORY / "out" / "page"
_QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
WIDE = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium; installed from Debian where the tests run as root."""
    if not shutil.which("chromium") and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=False, timeout=120)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        line = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        subprocess.run(line, check=False, timeout=600, env=environment, stdout=subprocess.DEVNULL)
    path = shutil.which("chromium")
    if not path:
        pytest.skip("needs Chromium: apt-get install chromium")
    return path


@pytest.fixture(scope="module")
def browser(chromium):
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=chromium, args=list(_QUIET))
        yield running
        running.close()


@pytest.fixture(scope="module")
def painter(tmp_path_factory):
    """A server with the bundled model."""
    running = Server(["cli.py", "serve", "--port", "0"], tmp_path_factory.mktemp("painter"))
    yield running
    assert running.stop() == 0
    assert running.errors() == ""


@pytest.fixture
def visit(browser):
    """Open a page; in the end, nothing may have left loopback and nothing may have been complained about."""
    contexts, complaints, addresses = [], [], []

    def visited(url: str, **options):
        context = browser.new_context(**{"color_scheme": "light", **WIDE, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: message.type in ("error", "warning") and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: addresses.append(request.url))
        page.goto(url)
        return page

    yield visited
    for context in contexts:
        context.close()
    assert complaints == []
    assert addresses and all(a.startswith(("http://127.0.0.1:", "blob:", "data:")) for a in addresses)


def opened(page, file=PHOTO):
    page.set_input_files("#file", file)
    page.wait_for_selector("#welcome", state="hidden")
    return page


def middle(page):
    box = page.locator("#view").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def paint(page, dx=60, dy=20):
    """A stroke with the mouse across the middle."""
    x, y = middle(page)
    page.mouse.move(x - dx, y - dy)
    page.mouse.down()
    page.mouse.move(x, y + dy, steps=6)
    page.mouse.move(x + dx, y - dy, steps=6)
    page.mouse.up()


def downloaded(page, button) -> tuple[str, bytes]:
    with page.expect_download() as download:
        page.click(button)
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def mask_of(page):
    """The mask as the page would send it: bool (H, W)."""
    return decoded(downloaded(page, "#mask-save")[1])[..., 0] >= 128


def fill(page):
    page.click("#run")
    page.wait_for_selector("#history button:nth-child(2)")
    page.wait_for_selector("#progress", state="hidden")


def test_a_photograph_from_opening_to_saving(painter, visit):
    page = opened(visit(painter.url))
    paint(page)
    page.click("#undo")
    assert page.locator("#run").is_disabled()
    page.click("#redo")
    mask = mask_of(page)
    assert 0.005 < mask.mean() < 0.1
    page.select_option("#samples-count", "3")
    fill(page)
    page.wait_for_selector("#samples button:nth-child(3)")
    page.click("#samples button:nth-child(2)")
    page.click("#compare")
    page.locator("#compare-at").fill("30")
    page.click("#compare")
    name, data = downloaded(page, "#save")
    assert name == "photo.inpainted.png"
    after = decoded(data)
    with Image.open(PHOTO) as image:
        before = np.asarray(image)
    assert (after[~mask] == before[~mask]).all(), "known pixels are those of the photograph"
    assert (after[mask] != before[mask]).any()
    page.keyboard.press("Control+z")  # back to the photograph, with its mask
    assert (mask_of(page) == mask).all()
    assert downloaded(page, "#save") == ("photo.jpg", PHOTO.read_bytes())


def test_inpainting_again_on_the_result_and_going_back(painter, visit):
    page = opened(visit(painter.url))
    paint(page)
    fill(page)
    first = downloaded(page, "#save")[1]
    paint(page, dx=-90, dy=70)
    mask = mask_of(page)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#history button:nth-child(3)")
    page.wait_for_selector("#progress", state="hidden")
    second = downloaded(page, "#save")[1]
    assert (decoded(second)[~mask] == decoded(first)[~mask]).all()
    assert (decoded(second)[mask] != decoded(first)[mask]).any()
    page.click("#history button:nth-child(2)")
    assert downloaded(page, "#save")[1] == first
    page.click("#history button:nth-child(1)")
    assert downloaded(page, "#save")[1] == PHOTO.read_bytes()
    page.click("#history button:nth-child(3)")
    assert downloaded(page, "#save")[1] == second


def test_every_tool_makes_the_mask_it_promises(server, visit):
    page = opened(visit(server.url))
    paint(page)
    stroke = mask_of(page)
    page.keyboard.press("e")
    paint(page)
    assert mask_of(page).mean() < 0.1 * stroke.mean()  # the same way with the eraser
    page.keyboard.press("x")
    page.keyboard.press("r")
    x, y = middle(page)
    page.mouse.move(x - 80, y - 40)
    page.mouse.down()
    page.mouse.move(x + 80, y + 40, steps=4)
    page.mouse.up()
    rectangle = mask_of(page)
    rows, columns = np.flatnonzero(rectangle.any(1)), np.flatnonzero(rectangle.any(0))
    assert rectangle[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() > 0.98
    page.keyboard.press("x")
    page.keyboard.press("a")
    paint(page, dx=80, dy=40)  # a triangle
    lasso = mask_of(page)
    assert 0.3 < lasso.sum() / rectangle.sum() < 0.7
    page.keyboard.press("x")
    page.keyboard.press("b")
    page.locator("#hardness").fill("0")
    paint(page)
    soft = mask_of(page)
    assert 0.2 * stroke.sum() < soft.sum() < 0.8 * stroke.sum()


def test_a_mask_goes_out_and_comes_back(server, visit, tmp_path):
    page = opened(visit(server.url))
    paint(page)
    name, data = downloaded(page, "#mask-save")
    assert name == "mask.png" and len(data) < 100_000
    (tmp_path / "mask.png").write_bytes(data)
    mask = mask_of(page)
    page.click("#clear")
    page.set_input_files("#mask-file", tmp_path / "mask.png")
    page.wait_for_selector("#run:enabled")
    assert (mask_of(page) == mask).all()


def test_touch_paints_with_one_finger_and_zooms_with_two(server, visit):
    page = opened(visit(server.url, **PHONE))
    session = page.context.new_cdp_session(page)

    def touch(kind, *points):
        at = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    x, y = middle(page)
    touch("touchStart", (x - 60, y))
    for step in range(1, 13):
        touch("touchMove", (x - 60 + 10 * step, y))
    touch("touchEnd")
    page.wait_for_selector("#run:enabled")
    page.click("#options")
    wide = mask_of(page)
    page.click("#options")
    page.click("#clear")
    touch("touchStart", (x - 20, y))
    touch("touchStart", (x - 20, y), (x + 20, y))
    for step in range(1, 7):
        touch("touchMove", (x - 20 - 10 * step, y), (x + 20 + 10 * step, y))
    touch("touchEnd")
    assert page.locator("#run").is_disabled()  # a pinch leaves no stroke
    touch("touchStart", (x - 60, y))
    for step in range(1, 13):
        touch("touchMove", (x - 60 + 10 * step, y))
    touch("touchEnd")
    page.wait_for_selector("#run:enabled")
    page.click("#options")
    narrow = mask_of(page)  # the same way of the finger over a picture zoomed four times
    lengths = [np.flatnonzero(mask.any(0)).size for mask in (wide, narrow)]
    assert lengths[1] < 0.6 * lengths[0]


def test_without_a_pointer(server, visit):
    """Only keys, from the first to the last step."""
    page = opened(visit(server.url))
    page.locator("#view").focus()
    page.keyboard.press("Enter")
    for _ in range(5):
        page.keyboard.press("Shift+ArrowRight")
    assert 0.001 < mask_of(page).mean() < 0.05
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#history button:nth-child(2)")
    page.keyboard.press("c")
    page.wait_for_selector("#compare-at")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    page.wait_for_selector("#compare-at", state="hidden")
    page.keyboard.press("?")
    page.wait_for_selector("#shortcuts[open]")
    page.keyboard.press("Escape")
    with page.expect_download():
        page.keyboard.press("Control+s")


def test_cancelling(start, visit):
    running = start("slow", 3.0)
    page = opened(visit(running.url))
    paint(page)
    page.click("#run")
    page.wait_for_selector("#progress")
    page.click("#cancel")
    page.wait_for_selector("#progress", state="hidden", timeout=1000)
    assert "Cancelled" in page.locator("#status").inner_text()
    assert page.locator("#history").is_hidden() and page.locator("#run").is_enabled()


def test_a_file_that_is_no_picture_is_refused(server, visit, tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    page = visit(server.url)
    page.set_input_files("#file", tmp_path / "x.png")
    page.locator("#status", has_text="no picture").wait_for(state="attached")


def test_dropping_and_pasting(server, visit):
    page = visit(server.url)
    data = list(PHOTO.read_bytes())
    script = """([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "photo.jpg", {type: "image/jpeg"}));
        const event = kind === "drop" ? new DragEvent("drop", {dataTransfer: data, bubbles: true})
            : new ClipboardEvent("paste", {clipboardData: data, bubbles: true});
        document.body.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        page.reload()
        page.evaluate(script, [kind, data])
        page.wait_for_selector("#welcome", state="hidden")


def test_the_token_is_asked_for(start, browser):
    token = "0123456789abcdef"
    page = browser.new_context().new_page()
    page.goto(start("slow", 0.0, token=token).url)
    page.wait_for_selector("#token[open]")
    page.fill("#token-value", token)
    page.keyboard.press("Enter")
    page.locator("#model", has_text="test").wait_for(state="attached")
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "size"), [("wide", WIDE), ("phone", PHONE)])
def test_it_looks_right_and_is_accessible(painter, visit, name, size, scheme):
    """axe-core finds nothing at every stage; the screenshots are for people to look at."""
    from axe_playwright_python.sync_playwright import Axe

    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = visit(painter.url, **size, color_scheme=scheme)
    page.add_init_script("")  # CSP forbids injected tags; evaluate, which axe uses, is not subject to it
    page.locator("#model", has_text="onnx").wait_for(state="attached")
    faults = []

    def look(stage: str) -> None:
        page.wait_for_timeout(300)
        page.screenshot(path=SCREENSHOTS / f"{name}-{scheme}-{stage}.png")
        report = Axe().run(page).response
        faults.extend(f"{stage}: {v['id']}: {v['nodes'][0]['html']}" for v in report["violations"])

    look("1-welcome")
    opened(page)
    paint(page, dx=40, dy=15)
    look("2-painted")
    if name == "phone":
        page.click("#options")
        look("3-options")
    page.select_option("#samples-count", "2")
    fill(page)
    page.wait_for_selector("#samples button:nth-child(2)")
    look("4-filled")
    page.click("#compare")
    look("5-compare")
    page.click("#compare")
    page.click("#help")
    look("6-shortcuts")
    page.keyboard.press("Escape")
    page.click("#model")
    assert "It meets the colours" in page.locator("#about-text").inner_text()
    look("7-model")
    assert faults == []
    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert overflow <= 0


def test_the_page_about_the_api(server, visit):
    page = visit(f"{server.url}/api")
    page.wait_for_selector("article:nth-of-type(5)")
    assert "crop_margin" in page.locator("main").inner_text()
    from axe_playwright_python.sync_playwright import Axe

    assert Axe().run(page).response["violations"] == []


def test_a_photograph_of_24_megapixels_stays_smooth(server, visit, tmp_path):
    y, x = np.mgrid[:4000, :6000].astype(np.float32) / 4000
    values = np.stack([x * 150, y * 250, 127 + 100 * np.sin(x * y * 40)], -1).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "large.jpg", quality=90)
    page = opened(visit(server.url), tmp_path / "large.jpg")
    script = """async () => {
        const view = document.getElementById("view"), frames = [];
        const box = view.getBoundingClientRect();
        let last = performance.now();
        for (let n = 0; n < 40; n++) {
            view.dispatchEvent(new WheelEvent("wheel", {deltaY: n % 20 < 10 ? -120 : 120, clientX: box.x + 300,
                clientY: box.y + 300, bubbles: true, cancelable: true}));
            await new Promise(requestAnimationFrame);
            frames.push(performance.now() - last);
            last = performance.now();
        }
        return frames.sort((a, b) => a - b);
    }"""
    frames = page.evaluate(script)
    print(f"frames of 24 megapixels: median {frames[20]:.0f} ms, worst {frames[-1]:.0f} ms")
    assert frames[20] < 100  # drawn by the processor, which is shared
    page.keyboard.press("0")
    paint(page)
    sent = []
    page.on("request", lambda request: sent.append(request) if request.method == "POST" else None)
    page.click("#run")
    page.wait_for_selector("#history button:nth-child(2)", timeout=60_000)
    page.wait_for_selector("#progress", state="hidden")
    body = sent[0].post_data_buffer
    assert body is None or len(body) < 200_000 + (tmp_path / "large.jpg").stat().st_size


def test_the_scripts_are_typed(tmp_path):
    """The JSDoc types of the modules, checked by TypeScript."""
    if not shutil.which("npm"):
        pytest.skip("needs npm: apt-get install npm")
    (tmp_path / "package.json").write_text(json.dumps({"private": True}))
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "typescript@7.0.2"]
    if subprocess.run(install, cwd=tmp_path, capture_output=True, timeout=120).returncode:
        pytest.skip("npm's registry is out of reach")
    options = "--noEmit --checkJs --allowJs --strict --target esnext --module esnext --moduleResolution bundler"
    files = sorted((REPOSITORY / "cmgan" / "serve" / "page").glob("*.js"))
    line = ["npx", "tsc", *options.split(), "--lib", "esnext,dom,dom.iterable", *map(str, files)]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
