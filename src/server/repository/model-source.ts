import type { LoggingConfig } from '../../core/index.ts';
import type { ModelOptions } from '../model-options.ts';
import type { VersionPolicy } from './version-policy.ts';

/** What a model's config may say of its format. The versions themselves are told apart by what they hold. */
export const modelPlatforms = ['tensorflow', 'onnx'] as const;
export type ModelPlatform = (typeof modelPlatforms)[number];

/** One model: the name it is served by, the folder that holds its version directories, and what is set for it. */
export interface ModelSource {
  readonly name: string;
  readonly basePath: string;
  /** @default 'tensorflow' */
  readonly platform?: ModelPlatform | undefined;
  /** @default the latest version */
  readonly policy?: VersionPolicy | undefined;
  /** Versions by label; they win over those of the folder's versions.json. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Which requests are written down, and where. */
  readonly logging?: LoggingConfig | undefined;
  /** What differs from the server's defaults for all models. */
  readonly options?: Partial<ModelOptions> | undefined;
}
