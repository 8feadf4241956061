import { Socket } from 'node:net';
import { CONTROL_FD, type PartMessage } from '../api/bootstrap.ts';
import { errorText } from './errors.ts';

/** A bootstrap is a few kilobytes (a trust bundle, paths); more is a mistake. */
const LINE_LIMIT_BYTES = 256 * 1024;

export interface Control {
  /** What the parent said first; the part checks its shape. */
  bootstrap: unknown;
  /** Answers the parent: once `ready`, or `failed` before the process ends; before either, `sealed` as often as there is cause. */
  ready(message: PartMessage): void;
  /** Resolves when the parent is gone: the part then drains and exits. */
  closed: Promise<void>;
}

/** The child's side of the control channel (api/bootstrap.ts). @throws Error if file descriptor 3 is no channel or closes before a bootstrap came. */
export async function openControl(): Promise<Control> {
  const socket = openSocket();
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
  });
  socket.on('error', () => socket.destroy());
  socket.once('end', () => socket.destroy());
  const line = await firstLine(socket);
  let bootstrap: unknown;
  try {
    bootstrap = JSON.parse(line);
  } catch {
    socket.destroy();
    // Without V8's message, which repeats the text: a bootstrap holds a join token.
    throw new Error('the bootstrap on the control channel is no JSON');
  }
  socket.resume();
  return {
    bootstrap,
    ready: (message) => {
      socket.write(`${JSON.stringify(message)}\n`);
    },
    closed,
  };
}

function openSocket(): Socket {
  try {
    return new Socket({ fd: CONTROL_FD, readable: true, writable: true });
  } catch (error) {
    throw new Error(
      `file descriptor ${CONTROL_FD} is no control channel; parts are started by sidekey up and sidekey run`,
      {
        cause: errorText(error),
      },
    );
  }
}

function firstLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const onData = (chunk: Buffer) => {
      const end = chunk.indexOf(0x0a);
      chunks.push(end < 0 ? chunk : chunk.subarray(0, end));
      length += chunk.length;
      if (end >= 0) {
        socket.off('data', onData);
        resolve(Buffer.concat(chunks).toString());
      } else if (length > LINE_LIMIT_BYTES) {
        socket.destroy(new Error(`the bootstrap is longer than ${LINE_LIMIT_BYTES} bytes`));
      }
    };
    socket.on('data', onData);
    socket.once('close', () => reject(new Error('the parent closed the control channel before the bootstrap came')));
  });
}
