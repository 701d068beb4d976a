"""Asks a running server everything that the unmodified clients of Triton can ask; prints the name of each check that holds.

Arguments: HTTP address, gRPC address. Models that the server has: everyday10, half_plus_two, half (FP16, y = 2x), echo (BYTES and INT64),
and `extra`, which the checks load, unload and replace.
"""

import asyncio
import json
import queue
import sys
import traceback

import numpy as np
import tritonclient.grpc as tgrpc
import tritonclient.grpc.aio as tgrpc_aio
import tritonclient.http as thttp
import tritonclient.http.aio as thttp_aio
from tritonclient.utils import InferenceServerException

http_address, grpc_address, replacement = sys.argv[1:4]
http = thttp.InferenceServerClient(http_address, concurrency=4)
grpc = tgrpc.InferenceServerClient(grpc_address)
both = [(http, thttp), (grpc, tgrpc)]

checks = []


def check(function):
    checks.append(function)
    return function


def tensor(module, name, array, datatype, **options):
    given = module.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, **options)
    return given


def refused(call, *words):
    try:
        call()
    except InferenceServerException as error:
        text = f"{error.status()} {error.message()}"
        assert all(word in text for word in words), text
        return
    raise AssertionError(f"nothing was refused with {words}")


x = np.array([[1], [2], [5]], np.float32)
y = np.array([[2.5], [3], [4.5]], np.float32)


@check
def health_and_readiness():
    for client, _ in both:
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready("half_plus_two") and client.is_model_ready("half_plus_two", "123")
        assert not client.is_model_ready("half_plus_two", "7") and not client.is_model_ready("none")


@check
def metadata_of_server_and_models():
    server = http.get_server_metadata()
    assert server == {**grpc.get_server_metadata(as_json=True)}, server
    assert {"binary_tensor_data", "classification", "statistics", "model_repository"} <= set(server["extensions"]), server
    model = http.get_model_metadata("half_plus_two")
    assert model["versions"] == ["123"] and model["inputs"][0]["name"] == "x" and model["inputs"][0]["datatype"] == "FP32"
    assert [int(size) for size in grpc.get_model_metadata("half_plus_two").inputs[0].shape] == model["inputs"][0]["shape"]
    refused(lambda: http.get_model_metadata("none"), "404", "Servable not found")
    refused(lambda: grpc.get_model_metadata("none"), "NOT_FOUND", "Servable not found")


@check
def infer_in_json_and_in_binary():
    for binary_in in (False, True):
        for binary_out in (False, True):
            result = http.infer(
                "half_plus_two",
                [tensor(thttp, "x", x, "FP32", binary_data=binary_in)],
                outputs=[thttp.InferRequestedOutput("y", binary_data=binary_out)],
                request_id="a-1",
            )
            assert np.array_equal(result.as_numpy("y"), y)
            assert result.get_response()["id"] == "a-1" and result.get_response()["model_version"] == "123"
    result = grpc.infer("half_plus_two", [tensor(tgrpc, "x", x, "FP32")], request_id="a-1", model_version="123")
    assert np.array_equal(result.as_numpy("y"), y) and result.get_response().id == "a-1"


@check
def infer_without_naming_outputs():
    for client, module in both:
        assert np.array_equal(client.infer("half_plus_two", [tensor(module, "x", x, "FP32")]).as_numpy("y"), y)


@check
def half_precision():
    values = np.array([[0, -1.5, 32752, 6e-8]], np.float16)
    for client, module in both:
        out = client.infer("half", [tensor(module, "x", values, "FP16")]).as_numpy("y")
        assert out.dtype == np.float16 and np.array_equal(out, values * np.float16(2)), out
    refused(lambda: http.infer("half", [tensor(thttp, "x", values.astype(np.float32), "FP32")]), "400", "float16")


@check
def bytes_and_integers_without_loss():
    words = np.array([["a", "\u00e9\u6f22", "", "x" * 300]], object)
    numbers = np.array([[2**63 - 1, -(2**63), 2**53 + 1, 0]], np.int64)
    for client, module in both:
        for options in ({}, {"binary_data": False}) if module is thttp else ({},):
            given = [tensor(module, "s", words, "BYTES", **options), tensor(module, "n", numbers, "INT64", **options)]
            result = client.infer("echo", given)
            assert [word.decode() for word in result.as_numpy("t").ravel()] == list(words.ravel())
            assert np.array_equal(result.as_numpy("m"), numbers), result.as_numpy("m")
    given = [tensor(thttp, "s", words, "BYTES", binary_data=False), tensor(thttp, "n", numbers, "INT64", binary_data=False)]
    plain = [thttp.InferRequestedOutput(name, binary_data=False) for name in ("t", "m")]
    result = http.infer("echo", given, outputs=plain)
    assert np.array_equal(result.as_numpy("m"), numbers) and list(result.as_numpy("t").ravel()) == list(words.ravel())
    raw = np.array([[b"\xff\x00"]], object)
    given = [tensor(thttp, "s", raw, "BYTES"), tensor(thttp, "n", numbers[:, :1], "INT64")]
    refused(lambda: http.infer("echo", given), "400", "UTF-8")


@check
def classes_with_labels():
    image = np.full((2, 32, 32, 3), 0.5, np.float32)
    for client, module in both:
        scores = client.infer("everyday10", [tensor(module, "image", image, "FP32")]).as_numpy("probabilities")
        asked = module.InferRequestedOutput("probabilities", class_count=3)
        classes = client.infer("everyday10", [tensor(module, "image", image, "FP32")], outputs=[asked]).as_numpy("probabilities")
        assert classes.shape == (2, 3), classes
        value, index, label = classes[1][0].decode().split(":")
        assert int(index) == int(np.argmax(scores[1])) and abs(float(value) - scores[1].max()) < 1e-4 and label


@check
def compression_both_ways():
    many = np.ones((1000, 1), np.float32)
    for asked in ("gzip", "deflate"):
        for answered in (None, "gzip", "deflate"):
            result = http.infer(
                "half_plus_two",
                [tensor(thttp, "x", many, "FP32")],
                request_compression_algorithm=asked,
                response_compression_algorithm=answered,
            )
            assert np.array_equal(result.as_numpy("y"), many * 2.5)
        result = grpc.infer("half_plus_two", [tensor(tgrpc, "x", many, "FP32")], compression_algorithm=asked)
        assert np.array_equal(result.as_numpy("y"), many * 2.5)


@check
def parameters_priority_and_timeout():
    for client, module in both:
        given = [tensor(module, "x", x, "FP32")]
        result = client.infer("half_plus_two", given, priority=1, timeout=10_000_000, parameters={"mine": "a", "flag": True, "n": 3})
        assert np.array_equal(result.as_numpy("y"), y)
        refused(lambda: client.infer("half_plus_two", given, parameters={"signature_name": "none"}), "none")
        result = client.infer("half_plus_two", given, sequence_id=5, sequence_start=True, sequence_end=True)
        assert np.array_equal(result.as_numpy("y"), y)


@check
def async_infer():
    pending = [http.async_infer("half_plus_two", [tensor(thttp, "x", x + i, "FP32")]) for i in range(20)]
    for i, request in enumerate(pending):
        assert np.array_equal(request.get_result().as_numpy("y"), (x + i) / 2 + 2)
    answers = queue.Queue()
    for i in range(20):
        grpc.async_infer(
            "half_plus_two",
            [tensor(tgrpc, "x", x + i, "FP32")],
            callback=lambda result, error, i=i: answers.put((i, result, error)),
        )
    for _ in range(20):
        i, result, error = answers.get(timeout=30)
        assert error is None and np.array_equal(result.as_numpy("y"), (x + i) / 2 + 2)


@check
def asyncio_clients():
    async def ask():
        async with thttp_aio.InferenceServerClient(http_address) as client:
            assert await client.is_server_ready()
            result = await client.infer("half_plus_two", [tensor(thttp_aio, "x", x, "FP32")], response_compression_algorithm="gzip")
            assert np.array_equal(result.as_numpy("y"), y)
            assert (await client.get_model_config("half_plus_two"))["name"] == "half_plus_two"
        async with tgrpc_aio.InferenceServerClient(grpc_address) as client:
            result = await client.infer("half_plus_two", [tensor(tgrpc_aio, "x", x, "FP32")])
            assert np.array_equal(result.as_numpy("y"), y)

            async def requests():
                for i in range(3):
                    yield {"model_name": "half_plus_two", "inputs": [tensor(tgrpc_aio, "x", x + i, "FP32")], "request_id": str(i)}

            seen = []
            async for result, error in client.stream_infer(requests()):
                assert error is None
                seen.append(result.get_response().id)
            assert seen == ["0", "1", "2"], seen

    asyncio.run(ask())


@check
def streams():
    answers = queue.Queue()
    with tgrpc.InferenceServerClient(grpc_address) as client:
        client.start_stream(callback=lambda result, error: answers.put((result, error)))
        for i in range(30):
            name = "none" if i == 3 else "half_plus_two"
            client.async_stream_infer(name, [tensor(tgrpc, "x", x + i, "FP32")], request_id=str(i), enable_empty_final_response=True)
        for i in range(30):
            result, error = answers.get(timeout=30)
            if i == 3:
                assert error is not None and "Servable not found" in str(error)
                continue
            assert error is None and result.get_response().id == str(i)
            assert result.get_response().parameters["triton_final_response"].bool_param
            assert np.array_equal(result.as_numpy("y"), (x + i) / 2 + 2)
        client.stop_stream()


@check
def statistics():
    def of(client, model="half_plus_two", version="123"):
        if client is grpc:
            [found] = grpc.get_inference_statistics(model, version, as_json=True)["model_stats"]
            return found
        [found] = http.get_inference_statistics(model, version)["model_stats"]
        return found

    before = of(http)
    http.infer("half_plus_two", [tensor(thttp, "x", x, "FP32")])
    refused(lambda: http.infer("half_plus_two", [tensor(thttp, "x", x.astype(np.int32), "INT32")]))
    after = of(http)
    assert after["execution_count"] == before["execution_count"] + 1
    assert after["inference_count"] == before["inference_count"] + 3
    assert after["inference_stats"]["success"]["count"] == before["inference_stats"]["success"]["count"] + 1
    assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]
    assert after["last_inference"] >= before["last_inference"] > 1_600_000_000_000
    assert any(batch["batch_size"] == 3 for batch in after["batch_stats"]), after["batch_stats"]
    assert int(of(grpc)["execution_count"]) == after["execution_count"]
    assert {one["name"] for one in http.get_inference_statistics()["model_stats"]} >= {"half_plus_two", "everyday10", "half", "echo"}
    refused(lambda: http.get_inference_statistics("none"), "404")


@check
def configuration():
    config = http.get_model_config("everyday10")
    assert config["max_batch_size"] > 0 and config["input"][0]["dims"] == [32, 32, 3], config
    assert config["input"][0]["format"] == "FORMAT_NHWC" and config["output"][0]["label_filename"], config
    message = grpc.get_model_config("everyday10").config
    assert message.max_batch_size == config["max_batch_size"] and list(message.input[0].dims) == [32, 32, 3]
    assert message.platform == config["platform"] and message.backend == config["backend"]


@check
def index_load_and_unload():
    def states(client):
        if client is grpc:
            return {one.name: one.state for one in grpc.get_model_repository_index().models}
        return {one["name"]: one.get("state") for one in http.get_model_repository_index()}

    data = np.array([[3]], np.float32)
    for client, module in both:
        assert states(client)["extra"] == "READY", states(client)
        client.unload_model("extra", **({"unload_dependents": True} if client is http else {}))
        assert states(client)["extra"] == "UNAVAILABLE" and not client.is_model_ready("extra")
        assert client.is_server_ready()
        refused(lambda: client.infer("extra", [tensor(module, "x", data, "FP32")]), "Servable not found")
        client.load_model("extra")
        assert client.is_model_ready("extra") and states(client)["extra"] == "READY"
        assert client.infer("extra", [tensor(module, "x", data, "FP32")]).as_numpy("y") == 6
        client.load_model("extra")
        refused(lambda: client.load_model("none"), "failed to load 'none', failed to poll from model repository")


@check
def load_with_files_and_config():
    content = open(replacement, "rb").read()
    data = np.array([[3]], np.float32)
    for client, module in both:
        client.load_model("extra", config=json.dumps({"backend": "onnxruntime"}), files={"file:7/model.onnx": content})
        result = client.infer("extra", [tensor(module, "x", data, "FP32")])
        assert result.as_numpy("y") == 30, result.as_numpy("y")
        client.load_model("extra")
        assert client.infer("extra", [tensor(module, "x", data, "FP32")]).as_numpy("y") == 6
        client.load_model("made", config=json.dumps({"backend": "onnxruntime"}), files={"file:1/model.onnx": content})
        assert client.infer("made", [tensor(module, "x", data, "FP32")]).as_numpy("y") == 30
        client.unload_model("made")
        refused(lambda: client.load_model("extra", files={"file:1/model.onnx": content}), "config")
        refused(lambda: client.load_model("extra", config="{}", files={"file:../model.onnx": content}), "file:../model.onnx")
        refused(lambda: client.load_model("extra", config=json.dumps({"max_batch_sizes": 1})), "max_batch_sizes")


@check
def what_is_not_served_is_refused():
    refused(lambda: grpc.get_system_shared_memory_status(), "UNIMPLEMENTED", "shared memory")
    refused(lambda: grpc.get_trace_settings(), "UNIMPLEMENTED")
    refused(lambda: grpc.get_log_settings(), "UNIMPLEMENTED")


failures = 0
for one in checks:
    try:
        one()
        print(one.__name__, flush=True)
    except Exception:
        failures += 1
        print(f"{one.__name__}: {traceback.format_exc()}", file=sys.stderr)
sys.exit(failures)
