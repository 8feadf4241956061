import { connect } from 'node:net';
import { SIDECAR_PORTS } from '../../api/pods.ts';

/** For a node that starts many pods at once; a restart would make it slower. */
const LIMIT_MS = 60_000;
const POLL_MS = 20;

/**
 * What the kubelet runs in the sidecar's container after it has started that (postStart), and waits for before it starts the next one.
 *
 * Health comes last in `startInPod`, so that what connects there finds all the others listening.
 */
function attempt(): void {
  const socket = connect(SIDECAR_PORTS.health, '127.0.0.1');
  socket.on('connect', () => process.exit(0));
  socket.on('error', () => {
    if (performance.now() < LIMIT_MS) {
      setTimeout(attempt, POLL_MS);
      return;
    }
    console.error(`the sidecar does not listen after ${LIMIT_MS / 1_000} s; the log of its container says why`);
    process.exit(1);
  });
}

attempt();
