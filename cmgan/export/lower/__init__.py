"""DFT nodes of any ONNX graph as products with constant matrices: `cmgan lower`."""
