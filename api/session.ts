/** Who a session is, as the store recorded it: authorisation uses this record, never what the caller says. */
export interface Session {
  id: string;
  namespace: string;
  serviceAccount: string;
  role?: string;
  tags: string[];
  /** The pod that it lives and dies with; absent outside Kubernetes. */
  pod?: { name: string; uid: string };
  /** Who asked for the workload: a user name of the API server, or of the local machine. */
  requester: string;
  /** RFC 3339. */
  startedAt: string;
}
