"""The gradients of all variables are added up over the replicas of several GPUs in one call."""

import subprocess
import sys

import pytest

# TensorFlow reduces over GPUs by collectives; over logical CPUs the project does so otherwise, and TensorFlow's own
# strategy can't be made in a process that has made the project's.
COUNT = """
import tensorflow as tf
from tensorflow.python.eager import context
from trainer.config.train import TrainConfig
from trainer.jobs.batch_size import random_training
from trainer.training import strategy

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy.make_strategy = lambda config: tf.distribute.MirroredStrategy(["/CPU:0", "/CPU:1"])
random_training(TrainConfig(data="", output="", image_size=32, batch_size=4))(2)
functions = map(context.context().get_function_def, context.context().list_function_names())
print(sum(node.op.startswith("CollectiveReduce") for function in functions for node in function.node_def))
"""


@pytest.mark.slow
def test_a_step_calls_one_reduction_on_each_replica():
    result = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, timeout=250, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.split()[-1]) == 2, "one on each of two replicas, for the 14 variables of the network"
