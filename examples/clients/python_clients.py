"""Asks a server from Python, in four ways.

    pip install requests numpy tritonclient[all] tensorflow-serving-api
    python python_clients.py http://localhost:8501 localhost:8500 photo.jpg

tensorflow-serving-api brings TensorFlow along; leave that part out where you do not need it.
"""

import sys

import numpy as np
import requests


def classify_photo(server: str, path: str) -> list[dict]:
    """A picture as it is: the server decodes, crops and scales it."""
    with open(path, "rb") as photo:
        response = requests.post(
            f"{server}/nearfar/v1/models/everyday10/tasks/image-classification",
            params={"topK": 3},
            data=photo,
            headers={"content-type": "image/*"},
            timeout=30,
        )
    response.raise_for_status()
    return response.json()["predictions"]


def predict_rest(server: str, image: np.ndarray) -> np.ndarray:
    """TensorFlow Serving's REST API."""
    body = {"inputs": {"image": image.tolist()}}
    response = requests.post(f"{server}/v1/models/everyday10:predict", json=body, timeout=30)
    response.raise_for_status()
    return np.array(response.json()["outputs"], np.float32)


def infer_grpc(address: str, image: np.ndarray) -> np.ndarray:
    """The Open Inference Protocol, tensors as bytes."""
    import tritonclient.grpc as triton

    client = triton.InferenceServerClient(address)
    tensor = triton.InferInput("image", list(image.shape), "FP32")
    tensor.set_data_from_numpy(image)
    return client.infer("everyday10", [tensor]).as_numpy("probabilities")


def predict_grpc(address: str, image: np.ndarray) -> np.ndarray:
    """TensorFlow Serving's gRPC API. The version that answered is in the trailing metadata."""
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "everyday10"
    request.inputs["image"].CopyFrom(tf.make_tensor_proto(image))
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response, call = stub.Predict.with_call(request, timeout=30)
    print("answered by", dict(call.trailing_metadata())["nearfar-model-digest"])
    return tf.make_ndarray(response.outputs["probabilities"])


def main(server: str, address: str, photo: str) -> None:
    for prediction in classify_photo(server, photo):
        print(f"{prediction['label']:12} {prediction['score']:.3f}")
    image = np.full([1, 32, 32, 3], 0.5, np.float32)
    expected = predict_rest(server, image)
    for predict in (infer_grpc, predict_grpc):
        try:
            np.testing.assert_allclose(predict(address, image), expected, atol=1e-6)
            print(predict.__name__, "answers the same")
        except ImportError as missing:
            print(predict.__name__, "was left out:", missing)


if __name__ == "__main__":
    main(*sys.argv[1:4])
