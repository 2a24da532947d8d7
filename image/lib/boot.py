"""The program behind image/boot: arguments, the live console, and the job's exit status."""
import argparse
import signal
import sys

import vm

TIMED_OUT = 124


def arguments():
    parser = argparse.ArgumentParser(prog="image/boot", description="Boots the appliance in QEMU.",
                                     epilog="Exit status: the job's own (RESULT exit=N), 124 after --timeout, "
                                            "1 when the machine ended without a result.")
    parser.add_argument("--disk", action="append", default=[], metavar="IMG",
                        help="attach this raw disk; may be repeated; the job may change it")
    parser.add_argument("--job", metavar="FILE", help="the job, passed as credential " + vm.JOB_CREDENTIAL)
    parser.add_argument("--secret", metavar="FILE", help="the master secret, as " + vm.SECRET_CREDENTIAL)
    parser.add_argument("--via", choices=["smbios", "fw_cfg"], default="smbios",
                        help="how credentials travel (default: smbios)")
    parser.add_argument("--memory", type=int, default=2048, metavar="MIB", help="default: 2048")
    parser.add_argument("--tpm", action="store_true", help="with a software TPM 2.0, new at each start")
    parser.add_argument("--direct", action="store_true", help="kernel and initrd without firmware: quicker")
    parser.add_argument("--graphical", action="store_true", help="open a window on the machine's screen")
    parser.add_argument("--log", default="", metavar="FILE", help="write the raw serial console here, too")
    parser.add_argument("--timeout", type=float, metavar="S", help="give up after so many seconds")
    return parser.parse_args()


def show(text):
    sys.stdout.buffer.write(text.replace(b"\r\n", b"\n"))
    sys.stdout.buffer.flush()


def status(machine, job_given, timeout):
    """Follows the console to its end."""
    while timeout is None or machine.seconds() < timeout:
        text = machine.read(1.0)
        if text:
            show(text)
        result = machine.result()
        if text is None:
            if result:
                return result[0]
            print("image/boot: the machine ended without a result", file=sys.stderr)
            return 1 if job_given else 0
        # A failed job leaves the machine up for a person to read; a script has read it by now.
        if result and result[0] != 0 and not sys.stdout.isatty():
            return result[0]
    print(f"image/boot: stopped after {timeout:.0f} s", file=sys.stderr)
    result = machine.result()
    return result[0] if result and result[0] != 0 else TIMED_OUT


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    credentials = {}
    if options.job:
        credentials[vm.JOB_CREDENTIAL] = options.job
    if options.secret:
        credentials[vm.SECRET_CREDENTIAL] = options.secret
    machine = vm.Machine(disks=options.disk, credentials=credentials, via=options.via, memory=options.memory,
                         direct=options.direct, tpm=options.tpm, graphical=options.graphical, log=options.log)
    try:
        with vm.Vm(machine) as running:
            print(f"image/boot: {running.accelerator}, {options.memory} MiB; Ctrl-C ends the machine",
                  file=sys.stderr)
            return status(running, bool(options.job), options.timeout)
    except (vm.MachineError, OSError) as error:
        print(f"image/boot: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
