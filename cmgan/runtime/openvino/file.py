"""What is checked of an OpenVINO IR before OpenVINO sees it: an XML file and the weights that it points into."""

from __future__ import annotations

from xml.etree import ElementTree

from cmgan.errors import ModelError

# What OpenVINO writes. Whatever begins otherwise it would hand to its readers of other formats.
_START = b'<?xml version="1.0"?>\n<net '


def check_ir(xml: bytes, weights: bytes) -> None:
    """Raise `ModelError` unless `xml` is an IR all of whose constants lie inside `weights`.

    Markup declarations (DOCTYPE, entities) are refused: OpenVINO's reader takes them, and no IR has any.
    """
    if not xml.startswith(_START):
        raise ModelError("not_ir", "does not begin as an OpenVINO IR file does; export again")
    if b"<!" in xml:
        raise ModelError("ir_markup", "has markup declarations (DOCTYPE, entities), which no exported IR has")
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError) as error:
        raise ModelError("not_ir", f"is cut or damaged ({error}); export again") from error
    for data in root.iter("data"):
        if "offset" in data.attrib:
            _check_constant(data.attrib, len(weights))


def _check_constant(attributes: dict[str, str], total: int) -> None:
    where = attributes.get("offset", ""), attributes.get("size", "")
    if all(text.isascii() and text.isdigit() and len(text) < 16 for text in where):
        offset, size = map(int, where)
        if offset + size <= total:
            return
    message = f"has a constant at offset {where[0]:.20} of {where[1]:.20} bytes; its weights are {total} bytes"
    raise ModelError("ir_offset", f"{message}: the .bin is cut or another model's; export again")
