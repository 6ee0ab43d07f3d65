"""Latency, memory and error of every engine side by side, on this machine."""
