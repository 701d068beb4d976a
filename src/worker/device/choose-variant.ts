import type { BackendId, Manifest, Variant } from '../../core/index.ts';
import type { DeviceProbe } from './probe.ts';

/** A variant that a backend of this device can run. */
export interface FitVariant {
  readonly backend: BackendId;
  readonly variant: Variant;
}

const formats = {
  tfjs: ['tfjs-graph', 'tfjs-layers'],
  onnx: ['onnx'],
} as const satisfies Record<string, readonly Variant['format'][]>;

/** The variants of a version that a backend can read, in the manifest's order. */
export function variantsFor(manifest: Manifest, backend: BackendId): readonly Variant[] {
  const readable: readonly Variant['format'][] = backend.startsWith('onnx-') ? formats.onnx : formats.tfjs;
  return manifest.variants.filter(({ format }) => readable.includes(format));
}

/** The first of them whose required features the device has. */
export async function chooseVariant(
  variants: readonly Variant[],
  backend: BackendId,
  probe: Pick<DeviceProbe, 'adapter'>,
): Promise<Variant | undefined> {
  const needsFeatures = backend.endsWith('-webgpu') && variants.some(({ requires }) => requires.length > 0);
  const features = (needsFeatures && (await probe.adapter())?.features) || [];
  return variants.find(({ requires }) => requires.every((feature) => features.includes(feature)));
}
