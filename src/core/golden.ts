import type { LoadedVariant, VariantSource } from './engine/index.ts';
import { NearfarError } from './errors.ts';
import { decodeSafetensors } from './formats/index.ts';
import type { Variant } from './manifest/index.ts';
import { type AnyTensor, float16ToNumber, type TensorMap } from './tensor/index.ts';

/** How far some outputs are from the right ones. */
export interface Agreement {
  /** Largest |a - b|. */
  readonly absolute: number;
  /** Largest |a - b| / |b| where b is not 0. */
  readonly relative: number;
  /** Whether |a - b| <= absolute + relative * |b| holds everywhere, with the tolerance that was given. */
  readonly isWithin: boolean;
  /** The first element that is outside, or what else differs. */
  readonly firstDifference?: string;
}

/**
 * Runs the golden examples of a version on a loaded variant.
 * @returns How well it agrees, over all examples.
 * @throws {NearfarError} `self-test-failed` when an output is outside the variant's tolerance; what reading and running throw.
 */
export async function checkGolden(
  loaded: LoadedVariant,
  { manifest, variant, readFile }: VariantSource,
  options: { signal?: AbortSignal | undefined } = {},
): Promise<Agreement> {
  let worst: Agreement = { absolute: 0, relative: 0, isWithin: true };
  for (const [index, example] of manifest.golden.entries()) {
    options.signal?.throwIfAborted();
    const inputs = decodeSafetensors(await readFile(example.inputs));
    const expected = decodeSafetensors(await readFile(example.outputs));
    const got = await loaded.run({ signature: example.signature, inputs, outputs: Object.keys(expected) }, options);
    const agreement = compareOutputs(expected, got, variant.tolerance);
    if (!agreement.isWithin) {
      const { absolute, relative } = agreement;
      throw new NearfarError(
        'self-test-failed',
        `${manifest.name} version ${manifest.version}, variant ${variant.id}: golden example ${index} is not reproduced, ${agreement.firstDifference}`,
        { details: { variant: variant.id, example: index, absolute, relative, tolerance: { ...variant.tolerance } } },
      );
    }
    worst = {
      absolute: Math.max(worst.absolute, agreement.absolute),
      relative: Math.max(worst.relative, agreement.relative),
      isWithin: true,
    };
  }
  return worst;
}

/** Compares outputs with the right ones, name by name; dtype, shape and NaN must be equal. */
export function compareOutputs(expected: TensorMap, got: TensorMap, tolerance: Variant['tolerance']): Agreement {
  let absolute = 0;
  let relative = 0;
  let firstDifference: string | undefined;
  for (const [name, right] of Object.entries(expected)) {
    const agreement = compareTensors(name, right, got[name], tolerance);
    absolute = Math.max(absolute, agreement.absolute);
    relative = Math.max(relative, agreement.relative);
    firstDifference ??= agreement.firstDifference;
  }
  return { absolute, relative, isWithin: firstDifference === undefined, ...(firstDifference === undefined ? {} : { firstDifference }) };
}

function compareTensors(name: string, right: AnyTensor, tensor: AnyTensor | undefined, tolerance: Variant['tolerance']): Agreement {
  const differs = (firstDifference: string): Agreement => ({ absolute: Infinity, relative: Infinity, isWithin: false, firstDifference });
  if (!tensor) return differs(`output ${name} is missing`);
  if (tensor.dtype !== right.dtype || tensor.shape.join() !== right.shape.join() || tensor.data.length !== right.data.length) {
    return differs(`output ${name} is ${tensor.dtype} [${tensor.shape}] where ${right.dtype} [${right.shape}] is right`);
  }
  if (right.dtype === 'string' || tensor.dtype === 'string') {
    const different = right.data.findIndex((item, index) => String(item) !== String(tensor.data[index]));
    return different < 0 ? { absolute: 0, relative: 0, isWithin: true } : differs(`output ${name} has another string at ${different}`);
  }
  const [a, b] = [readNumbers(tensor), readNumbers(right)];
  let absolute = 0;
  let relative = 0;
  let firstDifference: string | undefined;
  for (let index = 0; index < right.data.length; index++) {
    const [have, want] = [a(index), b(index)];
    // Equal infinities differ by NaN, and a NaN is only right where a NaN is expected.
    if (have === want || (Number.isNaN(have) && Number.isNaN(want))) continue;
    const difference = Number.isNaN(have - want) ? Infinity : Math.abs(have - want);
    absolute = Math.max(absolute, difference);
    if (want !== 0) relative = Math.max(relative, difference / Math.abs(want));
    if (Number.isFinite(difference) && difference <= tolerance.absolute + tolerance.relative * Math.abs(want)) continue;
    firstDifference ??= `output ${name} has ${have} at ${index} where ${want} is right`;
  }
  return { absolute, relative, isWithin: firstDifference === undefined, ...(firstDifference === undefined ? {} : { firstDifference }) };
}

function readNumbers({ dtype, data }: AnyTensor): (index: number) => number {
  if (dtype === 'float16') return (index) => float16ToNumber(Number(data[index]));
  if (dtype === 'bfloat16') return (index) => new Float32Array(Uint32Array.of(Number(data[index]) << 16).buffer)[0]!;
  return (index) => Number(data[index]);
}
