import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Indexes of tars go to a folder of their own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("CMGAN_CACHE_DIR", str(folder))
    return folder
