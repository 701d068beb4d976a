import type { NearfarErrorCode } from '../errors.ts';
import type { Leg } from '../placement.ts';

/** Where clients send reports to, below the base URL of a server. */
export const clientReportsPath = '/nearfar/v1/reports';

/** What a client tells of one call; nothing of its input or its answer. */
export interface ClientReport {
  readonly model: string;
  readonly version: string;
  readonly device: 'mobile' | 'desktop';
  readonly leg: Leg;
  /** As in `tfjs-webgpu`. */
  readonly backend: string;
  /** Why the answer did not come from the preferred leg or backend. */
  readonly fallback?: NearfarErrorCode;
  readonly totalMs: number;
}
