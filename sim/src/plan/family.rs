//! The families of faults: what can go wrong, without where and how much.

/// The families of faults, one for each [`FaultKind`](crate::FaultKind).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "documented at the variants of FaultKind of the same names")]
pub enum Family {
    Partition,
    PartitionOneWay,
    Hold,
    SlowLink,
    Reset,
    PowerLoss,
    Kill,
    Pause,
    ClockSkew,
    ClockDrift,
    ClockJump,
    SlowHandler,
    PanickingHandler,
    FullService,
    RefusedStreams,
    Unlisted,
    SilentName,
    FailingDisk,
    Drain,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Partition,
        Self::PartitionOneWay,
        Self::Hold,
        Self::SlowLink,
        Self::Reset,
        Self::PowerLoss,
        Self::Kill,
        Self::Pause,
        Self::ClockSkew,
        Self::ClockDrift,
        Self::ClockJump,
        Self::SlowHandler,
        Self::PanickingHandler,
        Self::FullService,
        Self::RefusedStreams,
        Self::Unlisted,
        Self::SilentName,
        Self::FailingDisk,
        Self::Drain,
    ];

    /// Its name, as in a plan file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::PartitionOneWay => "partition-one-way",
            Self::Hold => "hold",
            Self::SlowLink => "slow-link",
            Self::Reset => "reset",
            Self::PowerLoss => "power-loss",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::ClockSkew => "clock-skew",
            Self::ClockDrift => "clock-drift",
            Self::ClockJump => "clock-jump",
            Self::SlowHandler => "slow-handler",
            Self::PanickingHandler => "panicking-handler",
            Self::FullService => "full-service",
            Self::RefusedStreams => "refused-streams",
            Self::Unlisted => "unlisted",
            Self::SilentName => "silent-name",
            Self::FailingDisk => "failing-disk",
            Self::Drain => "drain",
        }
    }

    /// Whether it is on a link; all others are on a host.
    #[must_use]
    pub fn is_of_link(self) -> bool {
        matches!(self, Self::Partition | Self::PartitionOneWay | Self::Hold | Self::SlowLink | Self::Reset)
    }

    /// Whether any host can feel it; others only those whose program asks for it, that are reached by a name, or have a disk.
    #[must_use]
    pub fn is_of_any_host(self) -> bool {
        !matches!(self, Self::RefusedStreams | Self::Unlisted | Self::SilentName | Self::FailingDisk)
    }

    /// Whether only the wall clock is touched; such a fault is felt by who reads that clock.
    #[must_use]
    pub fn is_of_clock(self) -> bool {
        matches!(self, Self::ClockSkew | Self::ClockDrift | Self::ClockJump)
    }

    /// Whether the host's process is gone when the fault ends, at the latest, and is started again then.
    #[must_use]
    pub fn takes_down(self) -> bool {
        matches!(self, Self::PowerLoss | Self::Kill | Self::Drain)
    }

    /// Whether the host neither sends nor receives while the fault lasts.
    #[must_use]
    pub fn stops_host(self) -> bool {
        self.takes_down() || self == Self::Pause
    }
}
