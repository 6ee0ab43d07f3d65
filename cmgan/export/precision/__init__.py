"""int8 graphs: what they are calibrated on, how they are quantised, which blocks may be."""
