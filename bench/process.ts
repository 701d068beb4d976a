import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** A process of a bench, which answers one question at a time. */
export interface BenchProcess<Question, Answer> extends AsyncDisposable {
  ask(question: Question): Promise<Answer>;
}

/**
 * Starts a module of bench/processes on the built package. Its first message says that it is ready.
 * @param data Its only argument, as JSON.
 */
export async function startProcess<Question extends object, Answer, Ready = unknown>(
  module: string,
  data: object,
): Promise<BenchProcess<Question, Answer> & { readonly ready: Ready }> {
  const child = fork(fileURLToPath(new URL(`./processes/${module}`, import.meta.url)), [JSON.stringify(data)]);
  const ready: Ready = await nextMessage(child, module);
  return {
    ready,
    ask: (question) => {
      child.send(question);
      return nextMessage(child, module);
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
    },
  };
}

function nextMessage<Message>(child: ChildProcess, module: string): Promise<Message> {
  return new Promise((resolve, reject) => {
    const settle = (end: () => void) => {
      child.off('message', receive);
      child.off('exit', fail);
      end();
    };
    const receive = (message: unknown) => settle(() => resolve(message as Message)); // each module says what it answers
    const fail = (code: number | null) => settle(() => reject(new Error(`${module} ended (${code})`)));
    child.once('message', receive);
    child.once('exit', fail);
  });
}
