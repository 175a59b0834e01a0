//! The words that VirtualBox has for a machine, in all its versions, as far as they are known here: most describe hardware inside the guest. Those
//! that lead to the host are here, too, and judged in `leading`. Whatever is not here is refused.

/// Which elements there are in which, and their attributes; names are separated by blanks.
const KNOWN: &[(&str, &str, &str)] = &[
    (
        "",
        "Machine",
        "required version uuid name OSType snapshotFolder lastStateChange directoryIncludesUUID nameSync Description \
         currentStateModified aborted processPriority executionEngine icon stateFile",
    ),
    ("Machine", "Info", "msgid required"),
    ("Machine", "Description Groups ExtraData", ""),
    ("Machine", "Hardware", "version uuid"),
    ("Machine", "Platform", "architecture"),
    ("Machine", "Debugging", ""),
    ("Machine", "Autostart", "enabled delay autostop"),
    ("Machine", "Teleporter", "enabled port address password"),
    ("Machine", "MediaRegistry", ""),
    ("MediaRegistry", "HardDisks DVDImages FloppyImages", ""),
    ("HardDisks HardDisk", "HardDisk", "uuid location format type autoReset"),
    ("DVDImages FloppyImages", "Image", "uuid location format"),
    ("Groups", "Group", "name"),
    ("ExtraData", "ExtraDataItem", "name value"),
    ("Debugging", "Tracing", "enabled allowTracingToAccessVM config"),
    ("Debugging", "GuestDebug", "provider io address port"),
    // Storage: older versions have it beside the hardware.
    ("Machine Hardware", "StorageControllers", ""),
    (
        "StorageControllers",
        "StorageController",
        "name type PortCount Instance useHostIOCache Bootable IDE0MasterEmulationPort IDE0SlaveEmulationPort \
         IDE1MasterEmulationPort IDE1SlaveEmulationPort",
    ),
    (
        "StorageController",
        "AttachedDevice",
        "type port device hotpluggable nonrotational discard passthrough tempeject bandwidthGroup",
    ),
    ("AttachedDevice", "Image", "uuid"),
    ("AttachedDevice", "HostDrive", "src"),
    // The platform: a part of the hardware before settings version 1.20.
    ("Platform", "x86 arm", ""),
    ("Hardware Platform x86 arm", "CPU", "count executionCap CpuIdPortabilityLevel CpuProfile hotplug"),
    (
        "CPU",
        "HardwareVirtEx HardwareVirtExExclusive HardwareVirtExLargePages HardwareVirtExNestedPaging HardwareVirtExUX \
         HardwareVirtExUseNativeApi HardwareVirtExVPID HardwareVirtExVirtVmsaveVmload HardwareVirtForce NestedHWVirt \
         PAE LongMode TripleFaultReset APIC X2APIC SpecCtrl SpecCtrlByHost SyntheticCpu GicIts",
        "enabled",
    ),
    ("CPU", "IBPBOn", "vmexit vmentry"),
    ("CPU", "L1DFlushOn MDSClearOn", "scheduling vmentry"),
    ("CPU", "CpuIdTree CpuTree", ""),
    ("CpuIdTree", "CpuIdLeaf", "id subleaf eax ebx ecx edx"),
    ("CpuTree", "Cpu", "id"),
    ("Hardware Platform x86", "HPET", "enabled"),
    ("Hardware Platform", "RTC", "localOrUTC"),
    ("Hardware Platform", "Chipset Iommu", "type"),
    // The hardware.
    ("Hardware", "Memory", "RAMSize PageFusion"),
    ("Hardware", "HID", "Pointing Keyboard"),
    ("Hardware", "Paravirt", "provider debug"),
    ("Hardware", "Boot", ""),
    ("Boot", "Order", "position device"),
    ("Hardware", "Display", "controller VRAMSize monitorCount accelerate3D accelerate2DVideo"),
    (
        "Hardware",
        "RemoteDisplay",
        "enabled port netAddress authType authTimeout allowMultiConnection reuseSingleConnection authLibrary VRDEExtPack",
    ),
    ("RemoteDisplay", "VideoChannel", "enabled quality"),
    ("RemoteDisplay", "VRDEProperties", ""),
    ("VRDEProperties GenericInterface", "Property", "name value"),
    ("Hardware", "Firmware", "type"),
    ("Hardware", "BIOS", ""),
    ("BIOS Firmware", "ACPI IOAPIC PXEDebug SmbiosUuidLittleEndian AutoSerialNumGen", "enabled"),
    ("BIOS Firmware", "APIC BootMenu", "mode"),
    ("BIOS Firmware", "TimeOffset", "value"),
    ("BIOS Firmware", "Logo", "fadeIn fadeOut displayTime imagePath"),
    ("BIOS Firmware", "NVRAM", "path"),
    ("Hardware", "TrustedPlatformModule", "type location"),
    ("Hardware", "USBController", "enabled enabledEhci"),
    ("Hardware", "USB", ""),
    ("USB", "Controllers DeviceFilters", ""),
    ("Controllers", "Controller", "name type"),
    (
        "DeviceFilters USBController",
        "DeviceFilter",
        "name active vendorId productId revision manufacturer product serialNumber port remote maskedInterfaces",
    ),
    ("Hardware", "Network", ""),
    (
        "Network",
        "Adapter",
        "slot enabled MACAddress cable speed bootPriority trace tracefile bandwidthGroup promiscuousModePolicy type",
    ),
    ("Adapter", "DisabledModes", ""),
    (
        "Adapter DisabledModes",
        "NAT",
        "network hostip mtu sockrcv socksnd tcprcv tcpsnd localhost-reachable forward-broadcast enable-tftp",
    ),
    (
        "Adapter DisabledModes",
        "BridgedInterface InternalNetwork HostOnlyInterface HostOnlyNetwork NATNetwork CloudNetwork",
        "name",
    ),
    ("Adapter DisabledModes", "GenericInterface", "driver"),
    ("NAT", "DNS", "pass-domain use-proxy use-host-resolver"),
    ("NAT", "Alias", "logging proxy-only use-same-ports"),
    ("NAT", "TFTP", "prefix boot-file next-server"),
    ("NAT", "Forwarding", "name proto hostip hostport guestip guestport"),
    // `Uart` and `Lpt` before settings version 1.3.
    ("Hardware", "UART Uart LPT Lpt", ""),
    ("UART Uart", "Port", "slot enabled IOBase IOAddress IRQ server path hostMode uartType"),
    ("LPT Lpt", "Port", "slot enabled IOBase IRQ path"),
    ("Hardware", "AudioAdapter", "controller codec useDefault driver enabled enabledIn enabledOut"),
    ("Hardware", "SharedFolders", ""),
    ("SharedFolders", "SharedFolder", "name hostPath writable autoMount autoMountPoint symlinkPolicy"),
    ("Hardware", "Clipboard", "mode fileTransfersEnabled"),
    ("Hardware", "DragAndDrop", "mode"),
    ("Hardware", "Guest", "memoryBalloonSize MemoryBalloonSize statisticsUpdateInterval"),
    ("Hardware", "GuestProperties", "notificationPatterns"),
    ("GuestProperties", "GuestProperty", "name value timestamp flags"),
    ("Hardware", "IO", ""),
    ("IO", "IoCache", "enabled size"),
    ("IO", "BandwidthGroups", ""),
    ("BandwidthGroups", "BandwidthGroup", "name type maxBytesPerSec maxMbPerSec"),
    ("Hardware", "HostPci EmulatedUSB Frontend", ""),
    ("HostPci", "Devices", ""),
    ("Devices", "Device", "host guest name"),
    ("EmulatedUSB", "CardReader", "enabled"),
    ("Frontend", "Default", "type"),
    ("Machine Hardware", "VideoCapture", "enabled screens maxTime options file maxSize horzRes vertRes rate fps"),
    ("Machine Hardware", "Recording", "enabled screens"),
    (
        "Recording",
        "Screen",
        "id enabled featuresEnabled maxTimeS options dest file maxSizeMB videoCodec videoDeadline videoRateCtlMode \
         videoScalingMode horzRes vertRes rateKbps fps audioCodec audioDeadline audioRateCtlMode audioHz audioBits \
         audioChannels",
    ),
];

/// The known attributes of an element in another; `None`: it is not known there.
pub(super) fn attributes_of(parent: &str, name: &str) -> Option<&'static str> {
    let has = |names: &str, wanted: &str| names.split(' ').any(|one| one == wanted);
    KNOWN.iter().find(|(parents, names, _)| has(parents, parent) && has(names, name)).map(|(_, _, known)| *known)
}

/// Whether a key of a machine's extra data says nothing to VirtualBox about the host: how its window looks, and what the firmware tells the guest.
/// With others goes any file, and any library.
pub(super) fn is_harmless_key(name: &str) -> bool {
    const WHOLE: [&str; 9] = [
        "VBoxInternal2/EfiBootArgs",
        "VBoxInternal2/EfiDeviceProps",
        "VBoxInternal2/EfiGopMode",
        "VBoxInternal2/EfiGraphicsResolution",
        "VBoxInternal2/EfiHorizontalResolution",
        "VBoxInternal2/EfiVerticalResolution",
        "VBoxInternal2/EfiUgaMode",
        "VBoxInternal2/UgaHorizontalResolution",
        "VBoxInternal2/UgaVerticalResolution",
    ];
    // The words of the tables of SMBIOS; `DmiUseHostInfo` is not among them.
    const TABLES: &str = "BIOSVendor BIOSVersion BIOSReleaseDate BIOSReleaseMajor BIOSReleaseMinor BIOSFirmwareMajor \
         BIOSFirmwareMinor SystemVendor SystemProduct SystemVersion SystemSerial SystemSKU SystemFamily SystemUuid \
         BoardVendor BoardProduct BoardVersion BoardSerial BoardAssetTag BoardLocInChass BoardBoardType ChassisVendor \
         ChassisType ChassisVersion ChassisSerial ChassisAssetTag ProcManufacturer ProcVersion OEMVBoxVer OEMVBoxRev";
    let firmwares = ["VBoxInternal/Devices/efi/0/Config/Dmi", "VBoxInternal/Devices/pcbios/0/Config/Dmi"];
    let table = || firmwares.iter().find_map(|firmware| name.strip_prefix(firmware));
    let is_video_mode = || {
        let number = name.strip_prefix("CustomVideoMode");
        number.is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
    };
    name.starts_with("GUI/")
        || WHOLE.contains(&name)
        || table().is_some_and(|word| TABLES.split(' ').any(|known| known == word))
        || is_video_mode()
}
