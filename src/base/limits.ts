// Every limit on an inbound quantity, by name. Each is checked before anything is allocated and
// tested at the limit and one past it. `docs/reference/limits.md` is generated from this table.

export const limits = {
  /** Bytes of one Varlink message, terminator included. */
  varlinkMessageBytesMax: 65_536,
  /** Bytes of one Varlink reply as a client takes it, terminator included. */
  varlinkReplyBytesMax: 4 * 1024 * 1024,
  /** Nesting of arrays and objects in one Varlink message. */
  varlinkDepthMax: 16,
  /** Descriptors with one Varlink message. */
  varlinkFdsMax: 4,
  /** Descriptors with one read of a control connection that may be upgraded. */
  upgradedFdsMax: 16,
  /** Bytes that a client may send between its call for an upgrade and the answer. */
  upgradeEarlyBytesMax: 65_536,
  /** Varlink requests of one connection that wait for an answer. */
  varlinkPendingMax: 16,
  /** Control connections of one uid. */
  connectionsPerUidMax: 2048,
  /** Bytes queued for a peer that does not read, before its connection is closed. */
  sendQueueBytesMax: 4 * 1024 * 1024,
  /** Descriptors queued for a peer that does not read, before its connection is closed. */
  sendQueueFdsMax: 256,

  /** Data bytes of one vfio-user region access or DMA message. */
  vfioUserDataBytesMax: 1_048_576,
  /** Bytes of one vfio-user message: the largest data message and its headers. */
  vfioUserMessageBytesMax: 1_048_576 + 4096,
  /** Descriptors with one vfio-user message. */
  vfioUserFdsMax: 16,
  /** Bytes of the JSON in a VERSION message. */
  vfioUserVersionBytesMax: 4096,
  /** Bytes of what a vfio-user server says of one region, its mappable areas included. */
  vfioUserRegionInfoBytesMax: 65_536,
  /** Bytes of one bitmap of dirty pages. */
  vfioUserBitmapBytesMax: 1_048_576,
  /** Ranges that a vfio-user client names when it starts to log dirty pages. */
  vfioUserLogRangesMax: 4096,
  /** Lines a second in which a served device's log tells of DMA that was refused. */
  refusedDmaLinesPerSecondMax: 32,
  /** Entries in what a vfio-user server says of one region's I/O descriptors. */
  vfioUserIoFdEntriesMax: 256,
  /** Requests of one vfio-user connection that wait for their handler. */
  vfioUserPendingMax: 128,
  /** Payload bytes of those requests, past which no further one is read. */
  vfioUserPendingBytesMax: 4 * 1024 * 1024,
  /** Descriptors of those requests, past which no further one is read. */
  vfioUserPendingFdsMax: 128,
  /** Those requests while a DMA message of ours is under way, whose answer stands behind them. */
  vfioUserPendingDuringDmaMax: 4096,
  /** Payload bytes of those requests meanwhile. */
  vfioUserPendingBytesDuringDmaMax: 16 * 1024 * 1024,
  /** DMA messages under way to one vfio-user client; further ones wait. */
  vfioUserDmaMessagesMax: 64,
  /** Data bytes of those messages. */
  vfioUserDmaWireBytesMax: 2 * 1024 * 1024,
  /** Bytes of the DMA transfers of one vfio-user connection that are not done, waiting ones too. */
  vfioUserDmaBytesMax: 16 * 1024 * 1024,
  /** DMA messages that a vfio-user client has not answered, cancelled ones included. */
  vfioUserDmaUnansweredMax: 1024,
  /** How long a vfio-user client may take to answer a DMA message. */
  vfioUserDmaDeadlineMs: 5000,
  /** DMA messages of a server that wait for the handler of our vfio-user client. */
  vfioUserDmaServedMax: 256,
  /** Payload bytes of those messages. */
  vfioUserDmaServedBytesMax: 16 * 1024 * 1024,
  /** Time in which a client of a served device must have negotiated. */
  vfioUserNegotiationMsMax: 5000,
  /** Clients that wait for a served device while another one has it. */
  vfioUserWaitingClientsMax: 16,
  /** Frames that a served function may offer memory of its own for. */
  vfioUserWindowFramesMax: 4096,
  /** Bytes of a served device's state that a client may write to it. */
  vfioUserStateBytesMax: 64 * 1024 * 1024,

  /** Requests that wait until a vfio-user server is back. */
  vfioUserWaitingMax: 4096,
  /** Bytes of replies that a vfio-user client has not read, past which no request of it runs. */
  vfioUserUnsentBytesMax: 1024 * 1024,

  /** Bytes of what the kernel says of one region of a device, its mappable areas included. */
  vfioRegionInfoBytesMax: 65_536,

  /** Live and queued leases of one uid. */
  leasesPerUidMax: 1024,
  /** PASIDs of one uid, those in quarantine included. */
  pasidsPerUidMax: 1024,
  /** Window bytes that listening leases of one uid may leave with their holders. */
  orphanBytesPerUidMax: 64 * 1024 * 1024,
  /** Requests of one uid in the wait queue. */
  waitersPerUidMax: 64,
  /** Maps of one lease at a time. */
  mapsPerLeaseMax: 65_535,
  /** Bytes of one map. */
  mapBytesMax: 2 ** 40,
  /** Size of the IOVA window of one lease. */
  leaseMemoryBytesMax: 2 ** 40,
  /** Bytes of client memory placed in the arena for one lease. */
  placedBytesPerLeaseMax: 1024 ** 3,
  /** Bytes of client memory placed in the arena for one listening lease that asks for so much. */
  placedBytesPerListenMax: 3 * 1024 ** 3,
  /** Bytes of client memory placed in the arena in all. */
  placedBytesMax: 3 * 1024 ** 3,
  /** Page-table pages of one lease, 2 KiB each. */
  tablePagesPerLeaseMax: 16_384,
  /** Bytes of one window: the size of the all-ones memfd behind the SIGBUS guard. */
  windowBytesMax: 16 * 1024 * 1024,
  /** Vectors of one lease. */
  vectorsPerLeaseMax: 2048,
  /** Windows of one slice, as far as six BARs can show them. */
  windowsPerSliceMax: 16,
  /** Bytes of a window's name. */
  windowNameBytesMax: 12,
  /** Bytes of the capability in which a lease's device lists its windows. */
  windowListBytesMax: 128,
  /** Time to live that a request may ask for. */
  ttlMsMax: 365 * 24 * 3600 * 1000,
  /** Time a request may wait in the queue. */
  waitMsMax: 24 * 3600 * 1000,
  /** Priority in the wait queue, and its negative. */
  priorityMax: 100,
  /** Grace that a revocation may give. */
  graceMsMax: 3600 * 1000,
  /** Characters of a reason given with a revocation. */
  reasonCharsMax: 256,
  /** Operations in the helper processes at a time for one uid. */
  helperOperationsPerUidMax: 4,
  /** Operations of one uid that wait for one of those to finish. */
  helperWaitersPerUidMax: 2048,
  /** Helper processes, not counting those that a client holds stuck. */
  helpersMax: 16,
  /** How long a helper may take to receive descriptors from a peer before its stream ends. */
  helperDeadlineMs: 2000,
  /** Kicks by message that reach the device, per lease and second. */
  kicksPerSecondMax: 20_000,
  /** Bytes of one attribute in sysfs. */
  sysfsAttributeBytesMax: 4096,
  /** Names in one folder of sysfs or /proc. */
  sysfsEntriesMax: 16_384,
  /** Bytes of a table in /proc: mounts, swap, interrupts, limits. */
  procTableBytesMax: 4 * 1024 * 1024,
  /** Bytes of what is remembered of a function given to vfio-pci. */
  bindingRecordBytesMax: 4096,
  /** Times in a second that a level-triggered interrupt (INTx) is let fire again. */
  intxUnmasksPerSecondMax: 1000,
  /** The longest pause before that, while the line stays asserted. */
  intxPauseMsMax: 64,
  /** Faults of one lease that are told in a second; further ones are counted. */
  faultsPerSecondMax: 50,
  /** Records of the kernel's log that one turn of the event loop takes. */
  kernelLogRecordsPerTurnMax: 64,
  /** Events kept for one slow monitor before it is dropped. */
  monitorQueueMax: 4096,
} as const;

export type LimitName = keyof typeof limits;
