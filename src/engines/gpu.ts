import { type EngineDevice, NearfarError } from '../core/index.ts';
import type { EnginePlatform } from './platform.ts';

/** A GPU adapter that may be used, with what it says about itself. */
export interface FitAdapter {
  readonly adapter: GPUAdapter;
  readonly info: GPUAdapterInfo | undefined;
  readonly device: EngineDevice;
}

/**
 * The fastest adapter of the platform.
 * @throws {NearfarError} `device-unfit` when there is none, or only a software one that is not allowed.
 */
export async function requestFitAdapter(platform: EnginePlatform): Promise<FitAdapter> {
  if (platform.gpu === undefined) {
    throw new NearfarError('device-unfit', `WebGPU is not there: ${platform.gpuAbsence ?? 'the platform has no navigator.gpu'}`);
  }
  const adapter = await platform.gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (adapter === null) throw new NearfarError('device-unfit', 'WebGPU has no adapter on this device');
  const device = describeAdapter(adapter);
  if (device.isFallbackAdapter === true && !platform.allowSoftwareAdapter) {
    throw new NearfarError('device-unfit', `the only GPU adapter is a software one (${device.description || device.vendor || 'unnamed'})`, {
      details: { ...device },
    });
  }
  return { adapter, info: adapter.info, device };
}

/** What an adapter says about itself. Before 2025 browsers kept `isFallbackAdapter` on the adapter, not on its info. */
export function describeAdapter(adapter: Pick<GPUAdapter, 'info'> & { readonly isFallbackAdapter?: unknown }): EngineDevice {
  const info: Partial<GPUAdapterInfo> = adapter.info ?? {};
  return {
    kind: 'gpu',
    vendor: info.vendor ?? '',
    architecture: info.architecture ?? '',
    description: info.description ?? '',
    isFallbackAdapter: info.isFallbackAdapter === true || adapter.isFallbackAdapter === true || isSoftwareName(info),
  };
}

// Dawn for Node and some browsers do not mark Mesa's and Google's CPU implementations as fallback adapters.
function isSoftwareName({ vendor = '', architecture = '', device = '', description = '' }: Partial<GPUAdapterInfo>): boolean {
  return /swiftshader|llvmpipe|lavapipe|softpipe|microsoft basic render/i.test(`${vendor} ${architecture} ${device} ${description}`);
}

/**
 * A device with all that large models need of the adapter: its largest buffers and workgroups, and its useful features.
 * @throws {NearfarError} `device-unfit` when the adapter refuses.
 */
export async function requestDevice({ adapter }: FitAdapter): Promise<GPUDevice> {
  const features: GPUFeatureName[] = ['timestamp-query', 'bgra8unorm-storage', 'shader-f16', 'subgroups'];
  const { limits } = adapter;
  try {
    return await adapter.requestDevice({
      requiredFeatures: features.filter((feature) => adapter.features.has(feature)),
      requiredLimits: {
        maxBufferSize: limits.maxBufferSize,
        maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
        maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
        maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
        maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
        maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
        maxComputeWorkgroupSizeY: limits.maxComputeWorkgroupSizeY,
        maxComputeWorkgroupSizeZ: limits.maxComputeWorkgroupSizeZ,
        maxComputeWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
      },
    });
  } catch (cause) {
    throw new NearfarError('device-unfit', `the GPU adapter gave no device: ${messageOf(cause)}`, { cause });
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
