"""From pixels to detections: engines, pre- and post-processing, quantisation."""
