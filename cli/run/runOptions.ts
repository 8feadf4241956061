import type { SidecarBootstrap } from '../../api/bootstrap.ts';
import type { Subject } from '../../store/grants.ts';

export interface RunOptions {
  subject: Subject;
  egress: SidecarBootstrap['egress'];
  /** Further replicas of the store. */
  stores: readonly string[];
  keepEnv: boolean;
  extraCa: string | undefined;
  user: string | undefined;
}
