"""The server: a page to paint on and an HTTP service, in front of any engine."""
