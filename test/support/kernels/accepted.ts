import type { BackendId } from '../../../src/core/index.ts';

/** Cases, by the beginnings of their names, that a backend is known not to answer as the reference does, and why that is all right. */
export const accepted: Partial<Record<BackendId, Readonly<Record<string, string>>>> = {
  'tfjs-cpu': {
    'DepthToSpace int32': 'refused at load: the converter takes float32 only',
    'DepthToSpace bool': 'refused at load: the converter takes float32 only',
    'FusedDepthwiseConv2dNative float32 [1,5,5,3] [3,3,3,1] [3] LeakyRelu': 'refused at load: the converter loses its alpha',
  },
  'tfjs-wasm': {
    'MatMul int32': 'refused at load: no kernel for whole numbers',
    'ImageProjectiveTransformV3 float32 [1,4,5,2] [1,8] NEAREST REFLECT': 'refused at load: reflects at the wrong place',
    'ImageProjectiveTransformV3 float32 [1,4,5,2] [1,8] BILINEAR REFLECT': 'refused at load: reflects at the wrong place',
    Dilation2D: 'refused at load: no sum is smaller than 1e-38',
    'Complex float32': 'refused at load: no complex numbers',
    'Real complex64': 'refused at load: no complex numbers',
    'Imag complex64': 'refused at load: no complex numbers',
    'ComplexAbs complex64': 'refused at load: no complex numbers',
    'FFT complex64': 'refused at load: no complex numbers',
    'IFFT complex64': 'refused at load: no complex numbers',
    'RFFT float32': 'refused at load: no complex numbers',
  },
  'tfjs-webgpu': {
    'MatMul int32': 'refused at load: computed in float32',
    'ImageProjectiveTransformV3 float32 [1,4,5,2] [1,8] NEAREST REFLECT': 'refused at load: wrong outside of the picture',
    'ImageProjectiveTransformV3 float32 [1,4,5,2] [1,8] NEAREST WRAP': 'refused at load: wrong outside of the picture',
    'ImageProjectiveTransformV3 float32 [1,4,5,2] [1,8] NEAREST NEAREST': 'refused at load: wrong outside of the picture',
  },
};
