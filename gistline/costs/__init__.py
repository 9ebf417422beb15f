"""What calls cost and what sending the images would have cost: pure arithmetic."""
