"""From a training run to a family folder: graphs, calibration, parity, measurements, reports."""
