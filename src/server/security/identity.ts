import { timingSafeEqual } from 'node:crypto';
import { NearfarError } from '../../core/index.ts';
import type { ClientLimits } from '../admission.ts';
import { type Access, isChange, type Role } from './access.ts';

/** Who calls, by what was checked of the call. */
export interface Identity {
  /** `key:ci`, `token:alice`, `user:alice`, `certificate:CN=trainer`: as the history and the limits know it. */
  readonly name: string;
  /** With those that are implied. */
  readonly roles: ReadonlySet<Role>;
  /** The only models it may ask for; undefined for all. */
  readonly models?: ReadonlySet<string> | undefined;
  readonly limits?: ClientLimits | undefined;
  /** Of a page with a session: what its changing calls must bring, as no other page knows it. */
  readonly csrf?: string | undefined;
}

/** What may be opened to everyone although authentication is on. */
export const openable = ['files', 'metrics', 'reports'] as const;
export type Openable = (typeof openable)[number];

const implied: Readonly<Record<Role, readonly Role[]>> = {
  predict: ['predict'],
  read: ['read'],
  operate: ['operate', 'read'],
  admin: ['admin', 'operate', 'read', 'predict'],
};

/** What somebody may do who has these roles. */
export function withImplied(given: readonly Role[]): ReadonlySet<Role> {
  return new Set(given.flatMap((role) => implied[role]));
}

export type Rule = 'open' | 'signed-in' | Role;

/** Who a route or method is for, once it is known what is open to everyone. */
export function ruleOf(access: Access, opened: readonly Openable[] = []): Rule {
  switch (access) {
    case 'files':
    case 'reports':
      return opened.includes(access) ? 'open' : 'predict';
    case 'metrics':
      return opened.includes(access) ? 'open' : 'read';
    case 'audit':
      return 'read';
    case 'page':
      return 'open';
    default:
      return access;
  }
}

/** Whether somebody may do something, as {@link assertMay} says. */
export function may(identity: Identity, rule: Rule, model?: string | { many: true }): boolean {
  return whyNot(identity, rule, model) === undefined;
}

/**
 * Checks that somebody may do something.
 * @param model What it is about; `many` where that is more than one model, undefined where it is none.
 * @throws {NearfarError} `permission-denied`.
 */
export function assertMay(identity: Identity, rule: Rule, model?: string | { many: true }): void {
  const reason = whyNot(identity, rule, model);
  if (reason !== undefined) throw new NearfarError('permission-denied', reason, { details: { want: rule, got: [...identity.roles] } });
}

function whyNot({ name, roles, models }: Identity, rule: Rule, model: string | { many: true } | undefined): string | undefined {
  if (rule === 'open') return undefined;
  if (rule === 'signed-in' ? roles.size === 0 : !roles.has(rule)) {
    return `this needs ${rule === 'signed-in' ? 'a role' : `the role ${rule}`}, which ${name} does not have`;
  }
  if (!models || model === undefined) return undefined;
  if (typeof model === 'object') return `${name} is for some models alone, this is about all`;
  return models.has(model) ? undefined : `${name} may not ask for model ${model}`;
}

const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * Checks that a call with the session of a page comes from that page: browsers send cookies with the calls of others too.
 * @throws {NearfarError} `permission-denied`.
 */
export function assertCsrf({ csrf }: Identity, method: string, header: (name: string) => string | undefined): void {
  if (csrf === undefined || safeMethods.has(method)) return;
  const got = Buffer.from(header('nearfar-csrf') ?? '');
  const want = Buffer.from(csrf);
  if (got.length === want.length && timingSafeEqual(got, want)) return;
  throw new NearfarError(
    'permission-denied',
    'with a session, calls that are no GET bring the header nearfar-csrf, of GET /nearfar/v1/session',
  );
}

/** How to say who one is, for those who have not (RFC 6750, section 3). */
export function challengeOf(error: unknown): string | undefined {
  if (!(error instanceof NearfarError) || error.code !== 'unauthenticated') return undefined;
  return `Bearer realm="nearfar"${error.details['wrong'] ? ', error="invalid_token"' : ''}`;
}

/** Whether the caller's place matters beside its role: calls that change something are not taken everywhere. */
export function isBoundToPlace(access: Access, isAuthenticated: boolean): boolean {
  return isChange(access) || (access === 'audit' && !isAuthenticated);
}
