import json
import os
import sys

import triton_python_backend_utils as triton

sys.path.insert(0, os.environ["BENCH_PEERS_SOURCES"])
from onnx_session import open_session  # noqa: E402


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.inputs = [item["name"] for item in config["input"]]
        self.outputs = [item["name"] for item in config["output"]]
        self.session = open_session(config["parameters"]["file"]["string_value"])

    def execute(self, requests):
        responses = []
        for request in requests:
            feeds = {name: triton.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
            values = self.session.run(self.outputs, feeds)
            tensors = [triton.Tensor(name, value) for name, value in zip(self.outputs, values)]
            responses.append(triton.InferenceResponse(output_tensors=tensors))
        return responses
