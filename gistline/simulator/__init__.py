"""Circuit boards with planted, labelled defects, and the cameras that look at them."""
