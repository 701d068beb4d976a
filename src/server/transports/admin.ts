import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { NearfarError, type NearfarErrorCode } from '../../core/index.ts';
import type { Actor, ChangeWay, History, Refusals } from '../history/index.ts';
import type { ModelControl } from '../model-control.ts';
import type { Rollouts } from '../rollout/index.ts';
import type { Caller } from '../security/index.ts';
import type { ModelAdmin } from '../served-models.ts';

/** What calls that change what is served need. */
export interface AdminContext {
  readonly models: ModelAdmin;
  /** Loads and unloads models as the Open Inference Protocol asks. */
  readonly onDemand: ModelControl;
  /** Shadow runs, and rollouts by rules. */
  readonly rollouts: Pick<Rollouts, 'start' | 'dryRun' | 'abort' | 'status' | 'shadow' | 'setShadow'>;
  /** What was changed, by whom. */
  readonly history: Pick<History, 'list'>;
  /** Where calls are written down that were not taken. */
  readonly refusals: Refusals;
  /** Who may change it here: who calls from this machine, or anyone who gets here, or nobody as there is an address of its own for it. */
  readonly access: 'loopback' | 'open' | 'elsewhere';
  /** Whose pages may change it too, with the credentials of somebody who may. @default [] */
  readonly origins?: readonly string[] | undefined;
  /** What a metric of TensorFlow Serving or of ours counts, by its labels; empty where there is none of that name. */
  metricValues(name: string): Promise<ReadonlyMap<string, number>>;
}

/** Who a change is written down to. */
export function actorOf({ peer = 'unknown', identity }: Pick<Caller, 'peer' | 'identity'>, way: ChangeWay): Actor {
  return { who: identity ? `${identity.name} (${peer})` : peer, way };
}

/** Writes down that a call for a change was not taken; a change that failed is in the history already. */
export function noteRefusal(
  { models, refusals }: Pick<AdminContext, 'models' | 'refusals'>,
  error: unknown,
  refused: Actor & { readonly call: string; readonly model?: string | undefined },
): void {
  if (models.isRecorded(error) || (error instanceof NearfarError && waitedFor.has(error.code))) return;
  refusals.record({ ...refused, message: error instanceof Error ? error.message : String(error) });
}

/** Of a change that was made, and whose end was not waited for. */
const waitedFor: ReadonlySet<NearfarErrorCode> = new Set(['unavailable', 'deadline-exceeded', 'cancelled']);

/**
 * Checks that a caller may change what is served.
 * @throws {NearfarError} `permission-denied`.
 */
export function assertMayChange(
  { access, origins = [] }: Pick<AdminContext, 'access' | 'origins'>,
  { peer, header, identity }: Caller,
): void {
  if (access === 'elsewhere') throw refusal('calls that change what is served are taken at --admin_address alone');
  const isHere = peer !== undefined && isLoopback(peer) && !isForwarded(header) && (identity !== undefined || isAskedHere(header('host')));
  if (access === 'loopback' && !isHere) {
    throw refusal('calls that change what is served are taken from this machine alone; --admin_address opens an address for them');
  }
  const origin = header('origin');
  if (origin !== undefined && !isOwnPage(origin, header('host'), identity !== undefined) && !(identity && origins.includes(origin))) {
    throw refusal('pages of other origins may not change what is served');
  }
}

function refusal(message: string): NearfarError {
  return new NearfarError('permission-denied', message);
}

/**
 * A page in a browser on this machine is no operator. Its own name in place of ours (DNS rebinding) would make it same-origin, but would
 * have it bring no credentials.
 */
function isOwnPage(origin: string, host: string | undefined, isIdentified: boolean): boolean {
  return host !== undefined && originHost(origin) === host && (isIdentified || isOwnName(host));
}

/** A proxy on this machine speaks for others, and says so by one of these. */
const forwardedBy = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip', 'via'];

function isForwarded(header: Caller['header']): boolean {
  return forwardedBy.some((name) => header(name) !== undefined);
}

/** Another name is one that a proxy passes on, or a page whose name was made to lead here (DNS rebinding). gRPC has none. */
function isAskedHere(host: string | undefined): boolean {
  return host === undefined || isOwnName(host);
}

/** `127.0.0.1:5000`, `[::1]:5000`, `::ffff:127.0.0.1`, or the path of a Unix socket. */
function isLoopback(address: string): boolean {
  const bare = address.replace(/^\[(.*)\](?::\d+)?$/, '$1').replace(/^(\d+(?:\.\d+){3}):\d+$/, '$1');
  return /^(::ffff:)?127\.\d+\.\d+\.\d+$/i.test(bare) || bare === '::1' || address.startsWith('unix:');
}

function originHost(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

function isOwnName(host: string): boolean {
  const name = host
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
  return name === 'localhost' || name === hostname().toLowerCase() || isIP(name) !== 0;
}
