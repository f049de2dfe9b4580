"""Four logical CPU devices in the test process, so that replicas are real."""

import pytest
import tensorflow as tf


@pytest.fixture(scope="session", autouse=True)
def logical_devices() -> list:
    """Made before anything else starts TensorFlow in this process."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    if len(tf.config.get_logical_device_configuration(cpu) or []) < 4:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
    return tf.config.list_logical_devices("CPU")
