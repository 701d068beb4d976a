"""What TensorFlow Serving's own end-to-end test asks of a server (tensorflow_model_server_test.py), with its client as it is.

Usage: python tensorflow-serving-client.py GRPC_ADDRESS REST_URL
The server serves version 123 of `half_plus_two` (TensorFlow 1) and `half_plus_two_tf2`, and 123 and 124 of `versions` with the labels stable and canary.
"""

import gzip
import json
import os
import sys
import unittest
import urllib.error
import urllib.request

os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'

import grpc
from google.protobuf import json_format
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import inference_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc
from tensorflow_serving.apis import regression_pb2

GRPC, REST = sys.argv[1:3]
RPC_TIMEOUT = 20.0

channel = grpc.insecure_channel(GRPC)
prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
model_service = model_service_pb2_grpc.ModelServiceStub(channel)


def call_rest(path, request=None, raw=None, headers=None):
    data = raw if raw is not None else None if request is None else json.dumps(request).encode()
    with urllib.request.urlopen(urllib.request.Request(REST + path, data=data, headers=headers or {})) as response:
        assert response.headers['Content-Type'] == 'application/json', response.headers
        return json.loads(response.read())


def add_example(request, value):
    example = request.input.example_list.examples.add()
    example.features.feature['x'].float_list.value.extend([value])


class TensorflowModelServerTest(unittest.TestCase):

    def verify_model_spec(self, actual, name, signature, version):
        self.assertEqual((actual.name, actual.signature_name, actual.version.value), (name, signature, version))

    def predict(self, model='half_plus_two', specify_output=True, signature='', **version):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        if 'number' in version:
            request.model_spec.version.value = version['number']
        if 'label' in version:
            request.model_spec.version_label = version['label']
        request.inputs['x'].dtype = types_pb2.DT_FLOAT
        request.inputs['x'].float_val.append(2.0)
        request.inputs['x'].tensor_shape.dim.add().size = 1
        if specify_output:
            request.output_filter.append('y')
        return prediction.Predict(request, RPC_TIMEOUT)

    def verify_predict(self, result, name, version, output=3.0):
        self.assertIn('y', result.outputs)
        self.assertIs(types_pb2.DT_FLOAT, result.outputs['y'].dtype)
        self.assertEqual(1, len(result.outputs['y'].float_val))
        self.assertEqual(output, result.outputs['y'].float_val[0])
        self.verify_model_spec(result.model_spec, name, 'serving_default', version)

    def fails(self, code, words, call, *arguments, **options):
        with self.assertRaises(grpc.RpcError) as raised:
            call(*arguments, **options)
        self.assertIs(raised.exception.code(), code)
        self.assertIn(words, raised.exception.details())

    def fails_rest(self, code, words, path, request=None, **options):
        with self.assertRaises(urllib.error.HTTPError) as raised:
            call_rest(path, request, **options)
        self.assertEqual(raised.exception.code, code)
        self.assertIn(words, json.loads(raised.exception.read())['error'])

    def test_get_model_status(self):
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = 'half_plus_two'
        result = model_service.GetModelStatus(request, RPC_TIMEOUT)
        self.assertEqual(1, len(result.model_version_status))
        self.assertEqual(123, result.model_version_status[0].version)
        self.assertEqual(0, result.model_version_status[0].status.error_code)
        self.assertEqual(get_model_status_pb2.ModelVersionStatus.AVAILABLE, result.model_version_status[0].state)

    def test_get_model_metadata(self):
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        request.model_spec.name = 'half_plus_two'
        request.metadata_field.append('signature_def')
        result = prediction.GetModelMetadata(request, RPC_TIMEOUT)
        self.assertEqual('half_plus_two', result.model_spec.name)
        self.assertEqual(123, result.model_spec.version.value)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        self.assertTrue(result.metadata['signature_def'].Unpack(signatures))
        default = signatures.signature_def['serving_default']
        self.assertEqual(('x:0', 'y:0'), (default.inputs['x'].name, default.outputs['y'].name))
        self.assertEqual('tensorflow/serving/classify', signatures.signature_def['classify_x_to_y'].method_name)
        # REST says the same.
        rest = call_rest('/v1/models/half_plus_two/metadata')
        self.assertEqual({'name': 'half_plus_two', 'signature_name': '', 'version': '123'}, rest['model_spec'])
        parsed = json_format.ParseDict(rest['metadata']['signature_def'], get_model_metadata_pb2.SignatureDefMap())
        self.assertEqual(signatures, parsed)

    def test_predict(self):
        for specify_output in (True, False):
            self.verify_predict(self.predict(specify_output=specify_output), 'half_plus_two', 123)
            self.verify_predict(self.predict('half_plus_two_tf2', specify_output), 'half_plus_two_tf2', 123)

    def test_predict_versions(self):
        self.verify_predict(self.predict('versions'), 'versions', 124)
        self.verify_predict(self.predict('versions', number=123), 'versions', 123)
        self.verify_predict(self.predict('versions', label='stable'), 'versions', 123)
        self.verify_predict(self.predict('versions', label='canary'), 'versions', 124)
        self.fails(grpc.StatusCode.NOT_FOUND, 'Specific(versions, 5)', self.predict, 'versions', number=5)
        self.fails(grpc.StatusCode.INVALID_ARGUMENT, 'Unrecognized servable version label: x', self.predict, 'versions', label='x')

    def test_predict_errors(self):
        self.fails(grpc.StatusCode.NOT_FOUND, 'Servable', self.predict, 'missing')
        self.fails(grpc.StatusCode.NOT_FOUND, 'Specific(half_plus_two, 5)', self.predict, number=5)
        self.fails(grpc.StatusCode.FAILED_PRECONDITION, 'Serving signature key "no" not found.', self.predict, signature='no')
        self.fails(grpc.StatusCode.INVALID_ARGUMENT, '', self.predict, '')

    def test_classify(self):
        for model in ('half_plus_two', 'half_plus_two_tf2'):
            request = classification_pb2.ClassificationRequest()
            request.model_spec.name = model
            request.model_spec.signature_name = 'classify_x_to_y'
            add_example(request, 2.0)
            result = prediction.Classify(request, RPC_TIMEOUT)
            self.assertEqual(1, len(result.result.classifications))
            self.assertEqual(1, len(result.result.classifications[0].classes))
            self.assertEqual(3.0, result.result.classifications[0].classes[0].score)
            self.verify_model_spec(result.model_spec, model, 'classify_x_to_y', 123)

    def test_regress(self):
        for model in ('half_plus_two', 'half_plus_two_tf2'):
            request = regression_pb2.RegressionRequest()
            request.model_spec.name = model
            request.model_spec.signature_name = 'regress_x_to_y'
            add_example(request, 2.0)
            result = prediction.Regress(request, RPC_TIMEOUT)
            self.assertEqual([3.0], [regression.value for regression in result.result.regressions])
            self.verify_model_spec(result.model_spec, model, 'regress_x_to_y', 123)

    def test_multi_inference(self):
        for model in ('half_plus_two', 'half_plus_two_tf2'):
            request = inference_pb2.MultiInferenceRequest()
            for signature, method in (('regress_x_to_y', 'regress'), ('classify_x_to_y', 'classify')):
                task = request.tasks.add()
                task.model_spec.name = model
                task.model_spec.signature_name = signature
                task.method_name = 'tensorflow/serving/' + method
            add_example(request, 2.0)
            result = prediction.MultiInference(request, RPC_TIMEOUT)
            self.assertEqual(2, len(result.results))
            self.assertEqual(3.0, result.results[0].regression_result.regressions[0].value)
            self.assertEqual(3.0, result.results[1].classification_result.classifications[0].classes[0].score)
            for answer, signature in zip(result.results, ('regress_x_to_y', 'classify_x_to_y')):
                self.verify_model_spec(answer.model_spec, model, signature, 123)

    def test_classify_rest(self):
        request = {'signature_name': 'classify_x_to_y', 'examples': [{'x': 2.0}]}
        self.assertEqual({'results': [[['', 3.0]]]}, call_rest('/v1/models/half_plus_two:classify', request))

    def test_regress_rest(self):
        request = {'signature_name': 'regress_x_to_y', 'examples': [{'x': 2.0}]}
        self.assertEqual({'results': [3.0]}, call_rest('/v1/models/half_plus_two:regress', request))
        context = {'signature_name': 'regress_x_to_y', 'examples': [{}, {'x': 5.0}], 'context': {'x': 2.0}}
        self.assertEqual({'results': [3.0, 4.5]}, call_rest('/v1/models/half_plus_two:regress', context))

    def test_predict_rest(self):
        # The documentation's own example, and both forms.
        self.assertEqual({'predictions': [2.5, 3.0, 4.5]}, call_rest('/v1/models/half_plus_two:predict', {'instances': [1.0, 2.0, 5.0]}))
        self.assertEqual({'predictions': [3.0, 3.5, 4.0]}, call_rest('/v1/models/half_plus_two_tf2:predict', {'instances': [2.0, 3.0, 4.0]}))
        self.assertEqual({'outputs': [3.0, 3.5, 4.0]}, call_rest('/v1/models/half_plus_two:predict', {'inputs': [2.0, 3.0, 4.0]}))
        self.assertEqual({'outputs': [[3.0, 3.5], [4.0, 2.0]]}, call_rest('/v1/models/half_plus_two:predict', {'inputs': [[2, 3], [4, 0]]}))
        named = {'signature_name': 'serving_default', 'instances': [{'x': [2.0]}, {'x': [3.0]}]}
        self.assertEqual({'predictions': [[3.0], [3.5]]}, call_rest('/v1/models/half_plus_two:predict', named))
        for path in ('/versions/123', '/versions/00000123', '/labels/stable'):
            self.assertEqual({'predictions': [3.0]}, call_rest('/v1/models/versions' + path + ':predict', {'instances': [2.0]}))
        self.assertEqual({'predictions': [3.0]}, call_rest('/V1/MODELS/half_plus_two:PREDICT', {'instances': [2.0]}))

    def test_predict_rest_gzip(self):
        body = gzip.compress(json.dumps({'instances': [2.0, 3.0, 4.0]}).encode())
        answer = call_rest('/v1/models/half_plus_two:predict', raw=body, headers={'Content-Encoding': 'gzip'})
        self.assertEqual({'predictions': [3.0, 3.5, 4.0]}, answer)

    def test_predict_rest_non_finite(self):
        answer = call_rest('/v1/models/half_plus_two:predict', raw=b'{"instances": [NaN, Infinity, -Infinity, 1e39]}')
        self.assertEqual('[nan, inf, -inf, inf]', str(answer['predictions']))

    def test_predict_rest_trailing_bytes(self):
        self.assertEqual({'predictions': [3.0]}, call_rest('/v1/models/half_plus_two:predict', raw=b'{"instances": [2.0]}trailing'))

    def test_rest_errors(self):
        half = '/v1/models/half_plus_two'
        self.fails_rest(404, 'Servable not found for request: Latest(missing)', '/v1/models/missing:predict', {'instances': [1.0]})
        self.fails_rest(404, 'Could not find any versions of model missing', '/v1/models/missing')
        self.fails_rest(400, 'Malformed request: POST ' + half, half, {'instances': [1.0]})
        self.fails_rest(400, 'Malformed request: GET ' + half + ':predict', half + ':predict')
        self.fails_rest(400, 'Missing model name in request.', '/v1/models')
        self.fails_rest(400, 'Failed to convert version: 9223372036854775808 to numeric.', half + '/versions/9223372036854775808')
        self.fails_rest(400, 'JSON Parse error: ', half + ':predict', raw=b'{')
        self.fails_rest(400, "Missing 'inputs' or 'instances' key", half + ':predict', {})
        self.fails_rest(400, '', half + ':predict', raw=b'{"instances": ' + b'[' * 500_000)
        self.fails_rest(400, 'is not of expected type: float', half + ':predict', {'instances': ['a']})
        self.fails_rest(400, 'Expecting tensor size', half + ':predict', {'instances': [[1.0], [1.0, 2.0]]})

    def test_status_rest(self):
        expected = {'model_version_status': [{'version': '123', 'state': 'AVAILABLE', 'status': {'error_code': 'OK', 'error_message': ''}}]}
        self.assertEqual(expected, call_rest('/v1/models/half_plus_two'))
        self.assertEqual(expected, call_rest('/v1/models/half_plus_two/versions/123'))
        # A label is ignored: all versions are told.
        self.assertEqual(call_rest('/v1/models/versions'), call_rest('/v1/models/versions/labels/stable'))
        self.assertEqual(['124', '123'], [each['version'] for each in call_rest('/v1/models/versions')['model_version_status']])


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1], verbosity=2)
