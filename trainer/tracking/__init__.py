"""The room of tracking: a service such as MLflow is told how a training or a sweep goes."""
