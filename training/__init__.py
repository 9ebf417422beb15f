"""The recipe of the bundled detector: run by hand, never imported by the product."""
