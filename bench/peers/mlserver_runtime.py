from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

from onnx_session import open_session


class OnnxRuntime(MLModel):
    async def load(self) -> bool:
        self.session = open_session(self.settings.parameters.uri)
        return True

    async def predict(self, payload):
        feeds = {item.name: NumpyCodec.decode_input(item) for item in payload.inputs}
        names = [output.name for output in self.session.get_outputs()]
        outputs = [NumpyCodec.encode_output(name, value) for name, value in zip(names, self.session.run(names, feeds))]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
