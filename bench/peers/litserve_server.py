"""litserve_server.py PORT MODEL FILE: TensorFlow Serving's JSON by rows, at its path."""
import sys

import litserve
import numpy as np

from onnx_session import open_session

port, name, file = int(sys.argv[1]), sys.argv[2], sys.argv[3]


class Onnx(litserve.LitAPI):
    def setup(self, device):
        self.session = open_session(file)
        self.input = self.session.get_inputs()[0].name

    def decode_request(self, request):
        return np.asarray(request["instances"], dtype=np.float32)

    def predict(self, values):
        return self.session.run(None, {self.input: values})[0]

    def encode_response(self, output):
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    api = Onnx(api_path=f"/v1/models/{name}:predict")
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1).run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error")
