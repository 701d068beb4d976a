import { Server } from '@grpc/grpc-js';
import { accessOfMethod } from '../../security/index.ts';

/** Of grpc-js; a method that has no row in the table of access cannot be added. */
export class GuardedServer extends Server {
  override register<Request, Response>(...[path, ...handling]: Parameters<typeof Server.prototype.register<Request, Response>>): boolean {
    accessOfMethod(path);
    return super.register(path, ...handling);
  }
}
