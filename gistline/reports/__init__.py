"""From findings to a report: encodings, packing, prompt, tokens, the writer."""
