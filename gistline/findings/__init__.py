"""From detections to findings, verdicts and groups: pure rules."""
