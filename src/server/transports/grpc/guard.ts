import { Metadata, Server, ServerInterceptingCall, type ServerInterceptor, type ServerOptions } from '@grpc/grpc-js';
import { accessOfMethod, assertMay, type Caller, type Identity, isChange } from '../../security/index.ts';
import { actorOf, noteRefusal } from '../admin.ts';
import type { GrpcContext } from '../context.ts';
import { toServiceError } from './errors.ts';

export type GuardContext = Pick<GrpcContext, 'admin' | 'guard' | 'log'>;

/**
 * Who calls a method, who may do so; at once where nothing has to be waited for, undefined where nobody has to say it.
 * @throws {NearfarError} `unauthenticated`, `permission-denied`, `rate-limited`, `unavailable`; or rejects with it.
 */
export function admit(path: string, caller: Caller, { admin, guard }: GuardContext): Identity | undefined | Promise<Identity> {
  const access = accessOfMethod(path);
  const rule = guard?.ruleOf(access) ?? 'open';
  if (!guard || rule === 'open') return undefined;
  const check = (identity: Identity) => {
    assertMay(identity, rule);
    return identity;
  };
  const fail = (error: unknown): never => {
    if (isChange(access)) noteRefusal(admin, error, { ...actorOf(caller, 'gRPC'), call: path });
    throw error;
  };
  try {
    const found = guard.identify(caller);
    return found instanceof Promise ? found.then(check).catch(fail) : check(found);
  } catch (error) {
    return fail(error);
  }
}

/** Of grpc-js; a method that has no row in the table of access cannot be added, and those who may not call it do not get to it. */
export class GuardedServer extends Server {
  constructor(options: ServerOptions, context: GuardContext) {
    super({ ...options, interceptors: context.guard ? [guardCalls(context)] : [] });
  }

  override register<Request, Response>(...[path, ...handling]: Parameters<typeof Server.prototype.register<Request, Response>>): boolean {
    accessOfMethod(path);
    return super.register(path, ...handling);
  }
}

/** By the metadata of the calls that grpc-js reads. */
const identities = new WeakMap<Metadata, Identity>();
const admissions = new WeakMap<Metadata, () => ReturnType<typeof admit>>();

/**
 * Who has a stream by now: it may last longer than what its caller brought.
 * @throws as {@link admit}.
 */
export function admitAgain(metadata: Metadata): ReturnType<typeof admit> {
  return admissions.get(metadata)?.();
}

export function identityOf(metadata: Metadata): Identity | undefined {
  return identities.get(metadata);
}

function guardCalls(context: GuardContext): ServerInterceptor {
  return ({ path }, call) =>
    new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, pass) => {
            const caller: Caller = {
              peer: call.getPeer(),
              header: (name) => metadata.get(name)[0]?.toString(),
              certificate: () => call.getAuthContext().sslPeerCertificate,
            };
            const enter = (identity: Identity | undefined) => {
              if (identity) {
                identities.set(metadata, identity);
                admissions.set(metadata, () => admit(path, caller, context));
              }
              pass(metadata);
            };
            const refuse = (error: unknown) => {
              const trailer = new Metadata();
              call.sendStatus({ ...toServiceError(error, trailer, context.log), metadata: trailer });
            };
            try {
              const admitted = admit(path, caller, context);
              if (admitted instanceof Promise) void admitted.then(enter, refuse);
              else enter(admitted);
            } catch (error) {
              refuse(error);
            }
          },
        }),
    });
}
