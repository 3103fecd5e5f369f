"""Learning a calibration from labels: how well the small and the strong model did on a prompt."""
