"""What happened: numbers, findings, sentences, the page."""
