// The page about the API, made of the server's own OpenAPI document.
// @ts-check

/** @param {string} tag @param {string} text @param {...Node} children */
function element(tag, text, ...children) {
  const made = document.createElement(tag);
  made.textContent = text;
  made.append(...children);
  return made;
}

/** @param {any} field */
function kind(field) {
  const options = field.anyOf ?? [field];
  const names = options.map((/** @type {any} */ option) => option.enum?.join(", ") ?? option.const ?? option.type ?? "");
  const range = field.minimum === undefined ? "" : `, ${field.minimum} to ${field.maximum ?? "…"}`;
  return `${[...new Set(names)].filter((/** @type {string} */ name) => name !== "null").join(" or ")}${range}`;
}

/** @param {any} schema */
function fields(schema) {
  const rows = Object.entries(schema.properties ?? {}).map(([name, /** @type {any} */ field]) => {
    const about = [field.description ?? "", field.default === undefined || field.default === null ? "" : `Default ${field.default}.`];
    return element("tr", "", element("th", name), element("td", kind(field)), element("td", about.join(" ")));
  });
  return element("table", "", element("tbody", "", ...rows));
}

/** @type {HTMLElement} */ (document.getElementById("example")).textContent =
  `curl -F image=@photo.jpg -F mask=@mask.png ${location.origin}/api/v1/inpaint -o result.png`;
const description = await (await fetch("/openapi.json")).json();
for (const [path, methods] of Object.entries(/** @type {Record<string, any>} */ (description.paths))) {
  for (const [method, /** @type {any} */ route] of Object.entries(methods)) {
    const title = element("h2", "", element("b", method.toUpperCase()), document.createTextNode(path));
    const article = element("article", "", title, element("p", route.description ?? route.summary ?? ""));
    const body = route.requestBody?.content;
    if (body) {
      article.append(element("p", `Body: ${Object.keys(body).join(" or ")}`));
      article.append(fields(Object.values(/** @type {any[]} */ (body))[0].schema));
    }
    document.getElementById("main")?.append(article);
  }
}

export {};
