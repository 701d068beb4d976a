"""pytriton_server.py HTTP_PORT GRPC_PORT MODELS (JSON: name, file, input, output, shape of a row)"""
import json
import sys

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from onnx_session import open_session


def infer_of(session, input_name, output_name):
    @batch
    def infer(**feeds):
        return dict(zip([output_name], session.run([output_name], feeds)))

    return infer


http_port, grpc_port, models = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
config = TritonConfig(http_address="127.0.0.1", http_port=http_port, grpc_address="127.0.0.1", grpc_port=grpc_port, allow_metrics=False)
with Triton(config=config) as triton:
    for model in models:
        triton.bind(
            model_name=model["name"],
            infer_func=infer_of(open_session(model["file"]), model["input"], model["output"]),
            inputs=[Tensor(name=model["input"], dtype=np.float32, shape=tuple(model["row"]))],
            outputs=[Tensor(name=model["output"], dtype=np.float32, shape=(-1,) if model["row"] else ())],
            config=ModelConfig(max_batch_size=8),
        )
    triton.serve()
