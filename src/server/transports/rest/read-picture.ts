import type { FastifyRequest } from 'fastify';
import { type ImageInput, NearfarError, type PictureInput, type PreparedPicture } from '../../../core/index.ts';
import { assertPixelLimit } from '../../media/index.ts';
import type { RestContext } from '../context.ts';
import { headerText } from './headers.ts';
import { bodyBytes } from './rest-call.ts';

/**
 * The picture of a request, as the model sees it. The body is an encoded picture (JPEG, PNG, WebP, …); with the header
 * `nearfar-image-shape: H,W,3` it is the pixels that the model sees, uint8 RGB, of a picture whose size `nearfar-picture-size: H,W` says.
 */
export async function readPicture(
  { prepareImage }: Pick<RestContext, 'prepareImage'>,
  request: FastifyRequest,
  input: ImageInput | PictureInput,
  signal: AbortSignal,
): Promise<PreparedPicture> {
  const sides = readSides(request, 'nearfar-image-shape', /^\s*(\d{1,6})\s*,\s*(\d{1,6})\s*,\s*3\s*$/, 'height,width,3');
  if (!sides) return prepareImage(bodyBytes(request), input, { signal });
  const picture = readSides(request, 'nearfar-picture-size', /^\s*([1-9]\d{0,5})\s*,\s*([1-9]\d{0,5})\s*$/, 'height,width');
  if (picture) assertPixelLimit(picture);
  return { image: { ...sides, data: new Uint8Array(bodyBytes(request)) }, picture: picture ?? sides };
}

function readSides(request: FastifyRequest, header: string, pattern: RegExp, want: string): { height: number; width: number } | undefined {
  const text = headerText(request, header);
  if (text === undefined) return undefined;
  const [, height, width] = pattern.exec(text) ?? [];
  if (height !== undefined && width !== undefined) return { height: Number(height), width: Number(width) };
  throw new NearfarError('invalid-argument', `${header} is ${want}, got ${text}`);
}
