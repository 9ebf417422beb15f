"""The table of contents: one public function a file, each a whole use case."""
