"""ONNX Runtime as every peer calls it: one thread, as nearfar's engine has on two cores."""
import os

import onnxruntime


def open_session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("BENCH_THREADS", "1"))
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
