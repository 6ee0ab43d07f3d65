"""What makes an artefact of each format: the `builder` of its line in `cmgan.runtime.formats`."""
