import { readFileSync } from 'node:fs';
import { decodeImage } from '../../src/server/media/index.ts';
import { sharedData } from './shared-data.ts';

/** RGB values of a prepared picture of the shared data, each through `scale`, in the order height, width, channel. */
export async function decodePrepared(
  folder: string,
  photo: string,
  scale: (value: number, channel: number) => number,
): Promise<Float32Array<ArrayBuffer>> {
  const path = sharedData(`prepared/${folder}/${photo}.png`);
  if (path === undefined) throw new Error(`the shared data has no prepared/${folder}/${photo}.png`);
  const { data } = await decodeImage(new Uint8Array(readFileSync(path)));
  return Float32Array.from(data, (value, index) => scale(value, index % 3));
}
