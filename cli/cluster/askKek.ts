import type { KekStatus } from '../../api/kek.ts';
import { AdminClient } from '../adminClient.ts';
import type { Access, Pod } from './access.ts';
import { AdminForward } from './adminForward.ts';

/** What the store in that pod says of its keys, also while it is sealed; through `exec`, as whoever owns it does. @throws CliError Unreachable */
export async function askKek(access: Access, pod: Pod): Promise<KekStatus> {
  const forward = await AdminForward.to(access, pod);
  try {
    return await new AdminClient(forward.folder).kek();
  } finally {
    forward.close();
  }
}
