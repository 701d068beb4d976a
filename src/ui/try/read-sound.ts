import { NearfarError } from '../../core/index.ts';

/** What an AudioBuffer holds, as the server reads it. */
interface Sound {
  readonly sampleRate: number;
  readonly channels: readonly (readonly number[])[];
}

/** Decodes a file that the browser can play; at its own rate where it is WAV, which is most often meant, else at the browser's. */
export async function readSound(file: Blob): Promise<Sound> {
  const bytes = await file.arrayBuffer();
  const sampleRate = rateOfWav(bytes) ?? 48_000;
  try {
    const sound = await new OfflineAudioContext(1, 1, sampleRate).decodeAudioData(bytes);
    return { sampleRate, channels: Array.from({ length: sound.numberOfChannels }, (_, index) => Array.from(sound.getChannelData(index))) };
  } catch (cause) {
    throw new NearfarError('invalid-argument', 'the browser cannot decode this sound', { cause });
  }
}

function rateOfWav(bytes: ArrayBuffer): number | undefined {
  const view = new DataView(bytes);
  const isWav = bytes.byteLength > 28 && view.getUint32(0) === 0x52494646 && view.getUint32(8) === 0x57415645;
  const rate = isWav ? view.getUint32(24, true) : 0;
  // What an AudioContext takes.
  return rate >= 8000 && rate <= 96_000 ? rate : undefined;
}
